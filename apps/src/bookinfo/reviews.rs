//! `reviews`: what two readers think. Version 1 has no stars; version 2 asks `ratings` and shows black
//! stars, version 3 red ones. Version 2 waits 10 s for `ratings`, version 3 only 2.5 s: the bug that
//! the fault-injection tutorial finds.

use std::time::Duration;

use hyper::StatusCode;
use serde_json::{Value, json};

use super::{PORT, asked, authority, version};
use crate::flags::{Flags, env, pod_name};
use crate::web::{self, Call, Reply};
use crate::{client, trace};

const TEXTS: [&str; 2] = [
    "Two pairs of twins, one city, and nobody looks twice: the quickest laughs that Shakespeare wrote.",
    "Great fun, and over before it can tire. It has not the depth of the later plays, and needs none.",
];

#[derive(Clone, Copy)]
struct Stars {
    color: &'static str,
    patience: Duration,
}

pub async fn run(flags: &Flags, of_image: u8) -> anyhow::Result<()> {
    let stars = match version(flags, of_image) {
        1 => None,
        2 => Some(Stars { color: "black", patience: Duration::from_secs(10) }),
        _ => Some(Stars { color: "red", patience: Duration::from_millis(2500) }),
    };
    let listener = web::listen(flags.port(PORT)?).await?;
    web::serve(listener, move |call| async move { answer(&call, stars).await }).await
}

async fn answer(call: &Call, stars: Option<Stars>) -> Reply {
    let id = match asked(call, "reviews") {
        Ok(id) => id,
        Err(reply) => return *reply,
    };
    let ratings = match stars {
        None => [None, None],
        Some(stars) => {
            let given = ratings(call, id, stars).await;
            ["Reviewer1", "Reviewer2"].map(|who| Some(rating(given.as_ref(), who, stars)))
        }
    };
    let reviews: Vec<Value> = ratings
        .into_iter()
        .enumerate()
        .map(|(index, rating)| {
            let who = format!("Reviewer{}", index + 1);
            let mut review = json!({"reviewer": who, "text": TEXTS[index]});
            if let Some(rating) = rating {
                review["rating"] = rating;
            }
            review
        })
        .collect();
    let body = json!({
        "id": id.to_string(),
        "podname": pod_name(),
        "clustername": env("CLUSTER_NAME").unwrap_or_else(|| "null".to_owned()),
        "reviews": reviews,
    });
    web::json(StatusCode::OK, &body)
}

fn rating(given: Option<&Value>, who: &str, stars: Stars) -> Value {
    match given {
        Some(given) => {
            let count = given.get(who).and_then(Value::as_i64).unwrap_or(-1);
            json!({"stars": count, "color": stars.color})
        }
        None => json!({"error": "Ratings service is currently unavailable"}),
    }
}

async fn ratings(call: &Call, id: u64, stars: Stars) -> Option<Value> {
    let headers = trace::passed_on(&call.headers);
    let path = format!("/ratings/{id}");
    match client::get(&authority("ratings"), &path, &headers, stars.patience).await {
        Ok((StatusCode::OK, body)) => {
            let body: Value = serde_json::from_slice(&body).ok()?;
            body.get("ratings").cloned()
        }
        Ok((status, _)) => {
            eprintln!("ratings answered {status}");
            None
        }
        Err(error) => {
            eprintln!("ratings: {error:#}");
            None
        }
    }
}
