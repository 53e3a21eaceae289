//! `ratings`: how many stars each reviewer gave. New ratings can be posted and live as long as the pod.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use hyper::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::{PORT, healthy, product_id};
use crate::flags::Flags;
use crate::web::{self, Call, Reply};

/// Products whose posted ratings are kept.
const REMEMBERED: usize = 1000;

type Posted = Rc<RefCell<BTreeMap<u64, Map<String, Value>>>>;

pub async fn run(flags: &Flags, _version: u8) -> anyhow::Result<()> {
    let listener = web::listen(flags.port(PORT)?).await?;
    let posted = Posted::default();
    web::serve(listener, move |call| {
        let reply = answer(&call, &posted);
        async move { reply }
    })
    .await
}

fn answer(call: &Call, posted: &Posted) -> Reply {
    let parts = call.parts();
    if parts == ["health"] {
        return healthy("Ratings");
    }
    let id = match product_id(&parts, "ratings") {
        Some(Ok(id)) => id,
        Some(Err(reply)) => return reply,
        None => return web::not_found(),
    };
    if call.method == Method::POST {
        let Ok(Value::Object(ratings)) = serde_json::from_slice(&call.body) else {
            let message = json!({"error": "please provide valid ratings JSON"});
            return web::json(StatusCode::BAD_REQUEST, &message);
        };
        let mut posted = posted.borrow_mut();
        if posted.len() < REMEMBERED || posted.contains_key(&id) {
            posted.insert(id, ratings);
        }
    }
    let ratings = posted.borrow().get(&id).cloned().map(Value::Object);
    let ratings = ratings.unwrap_or_else(|| json!({"Reviewer1": 5, "Reviewer2": 4}));
    web::json(StatusCode::OK, &json!({"id": id, "ratings": ratings}))
}
