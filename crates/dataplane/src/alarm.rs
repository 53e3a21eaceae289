//! Deadlines of one task. A timer is set only when a deadline is earlier than the timer that is set
//! already, so that a connection which keeps moving its deadline forward sets one now and then, not
//! one per request. It belongs to one task.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::time::{Instant, Sleep, sleep_until};

#[derive(Debug, Default)]
pub struct Alarm {
    timer: Option<Pin<Box<Sleep>>>,
    /// The task is woken when the timer fires, so that it need not be asked before.
    armed: bool,
}

impl Alarm {
    /// Ready once `deadline` has passed; `None` never is.
    pub fn poll(&mut self, cx: &mut Context<'_>, deadline: Option<Instant>) -> Poll<()> {
        let Some(deadline) = deadline else { return Poll::Pending };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if deadline < timer.deadline() {
            timer.as_mut().reset(deadline);
        } else if self.armed && !timer.is_elapsed() {
            return Poll::Pending;
        }
        self.armed = false;
        while timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline);
        }
        self.armed = true;
        Poll::Pending
    }
}
