//! `details`: the facts about a book.

use hyper::StatusCode;
use serde_json::json;

use super::{PORT, asked};
use crate::flags::Flags;
use crate::web::{self, Call, Reply};

pub async fn run(flags: &Flags) -> anyhow::Result<()> {
    let listener = web::listen(flags.port(PORT)?).await?;
    web::serve(listener, |call| async move { answer(&call) }).await
}

fn answer(call: &Call) -> Reply {
    match asked(call, "details") {
        Ok(id) => web::json(
            StatusCode::OK,
            &json!({
                "id": id,
                "author": "William Shakespeare",
                "year": 1595,
                "type": "paperback",
                "pages": 200,
                "publisher": "PublisherA",
                "language": "English",
                "ISBN-10": "1234567890",
                "ISBN-13": "123-1234567890",
            }),
        ),
        Err(reply) => *reply,
    }
}
