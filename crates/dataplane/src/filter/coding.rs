//! Filters that change bodies: what a request makes them do to its answer.

use super::Passed;
use crate::forward::Downstream;
use crate::intake::Intake;
use policy::coding::compress::CompressRule;
use policy::coding::web::{self, Answered, Web};
use policy::coding::{Coder, Recoding};
use std::borrow::Cow;
use wire::h1::Body;
use wire::{Request, Response};

/// One filter's part in the answer.
#[derive(Clone, Debug)]
pub enum Coding<'v> {
    Web(Web),
    /// With what the client accepts.
    Compress(&'v CompressRule, Option<Vec<u8>>),
}

/// What becomes of an answer's body.
#[derive(Debug, Default)]
pub struct Coded {
    pub recoding: Option<Box<Recoding>>,
    /// It becomes a message in the head.
    pub message: bool,
}

/// The request is made gRPC, if it is gRPC-Web.
pub(super) fn web<D: Downstream>(
    request: &mut Request,
    passed: &mut Passed<'_>,
    intake: &mut Intake<'_, D>,
) {
    let Some((web, coder)) = web::receive(request) else { return };
    passed.codings.push(Coding::Web(web));
    intake.unsized_body();
    if let Some(coder) = coder {
        intake.recode(coder);
    }
}

/// What the client accepts is kept for the answer.
pub(super) fn compress<'v, D: Downstream>(
    rule: &'v CompressRule,
    request: &mut Request,
    passed: &mut Passed<'v>,
    intake: &mut Intake<'_, D>,
) {
    let bodiless = intake.upgrade || matches!(intake.body, Body::Empty | Body::Length(0));
    let (accept, coder) = rule.receive(request, bodiless);
    passed.codings.push(Coding::Compress(rule, accept));
    if let Some(coder) = coder {
        intake.recode(Coder::Gzip(coder));
    }
}

impl Passed<'_> {
    /// Whether the client speaks gRPC-Web, of which the upstream knows nothing.
    pub fn is_web(&self) -> bool {
        self.codings.iter().any(|c| matches!(c, Coding::Web(_)))
    }

    /// Changes the head of an answer for what is to become of its body: last filter first.
    pub fn code(&self, response: &mut Response, bodiless: bool) -> Coded {
        let mut coded = Coded::default();
        for coding in self.codings.iter().rev() {
            let bodiless = bodiless || coded.message;
            match coding {
                Coding::Compress(rule, accept) => {
                    if let Some(coder) = rule.answer(accept.as_deref(), response, bodiless) {
                        coded.then(Coder::Gzip(coder));
                    }
                }
                Coding::Web(web) => match web.answer(response, bodiless) {
                    Answered::AsIs => {}
                    Answered::Coded(coder) => coded.then(coder),
                    Answered::Message => coded = Coded { recoding: None, message: true },
                },
            }
        }
        coded
    }
}

impl Coded {
    fn then(&mut self, coder: Coder) {
        self.recoding.get_or_insert_default().then(coder);
    }

    /// The whole of a body at once.
    pub fn whole<'b>(self, response: &mut Response, body: &'b [u8]) -> Cow<'b, [u8]> {
        if self.message {
            web::message(response, body);
            return Cow::Borrowed(&[]);
        }
        let Some(mut recoding) = self.recoding else { return Cow::Borrowed(body) };
        let mut out = Vec::new();
        let mut rest = body;
        while !recoding.is_ended() {
            let moved = match rest.is_empty() {
                true => recoding.end(None).map(|()| 0),
                false => recoding.put(rest),
            };
            // No coder of answers fails at what we say ourselves.
            let Ok(n) = moved else { break };
            rest = &rest[n..];
            while !recoding.data().is_empty() {
                out.extend_from_slice(recoding.data());
                recoding.consume(recoding.data().len());
                if recoding.settle().is_err() {
                    break;
                }
            }
        }
        Cow::Owned(out)
    }
}
