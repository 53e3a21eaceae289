//! `ratings`: how many stars each reviewer gave. In version 1 new ratings can be posted and live as long as
//! the pod; version 2 asks a database: MongoDB at `$MONGO_DB_URL`, or with `DB_TYPE=mysql` MySQL at
//! `$MYSQL_DB_HOST`. It asks again for every request, so that what it says is what is stored.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use hyper::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::{PORT, asked, version};
use crate::database::{mongodb, mysql};
use crate::flags::{Flags, env};
use crate::web::{self, Call, Reply};

/// Products whose posted ratings are kept.
const REMEMBERED: usize = 1000;

type Posted = Rc<RefCell<BTreeMap<u64, Map<String, Value>>>>;

/// How long a database may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
const QUERY: &str = "SELECT Rating FROM ratings ORDER BY ReviewID";

/// Where version 2 has its ratings from.
#[derive(Clone, Debug)]
enum Stored {
    MongoDb(String),
    MySql(mysql::Access),
}

pub async fn run(flags: &Flags, of_image: u8) -> anyhow::Result<()> {
    let listener = web::listen(flags.port(PORT)?).await?;
    let stored = (version(flags, of_image) >= 2).then(Stored::of_environment);
    let posted = Posted::default();
    web::serve(listener, move |call| {
        let (posted, stored) = (posted.clone(), stored.clone());
        async move {
            match stored {
                Some(stored) => from_database(&call, &stored).await,
                None => answer(&call, &posted),
            }
        }
    })
    .await
}

impl Stored {
    fn of_environment() -> Stored {
        let or = |name: &str, default: &str| env(name).unwrap_or_else(|| default.to_owned());
        if env("DB_TYPE").is_none_or(|kind| kind != "mysql") {
            return Stored::MongoDb(or("MONGO_DB_URL", "mongodb://mongodb:27017/test"));
        }
        let (host, port) = (or("MYSQL_DB_HOST", "mysqldb"), or("MYSQL_DB_PORT", "3306"));
        Stored::MySql(mysql::Access {
            address: format!("{host}:{port}"),
            user: or("MYSQL_DB_USER", "root"),
            password: env("MYSQL_DB_PASSWORD").unwrap_or_default(),
            database: "test".to_owned(),
        })
    }

    async fn ratings(&self) -> anyhow::Result<Vec<i64>> {
        Ok(match self {
            Stored::MongoDb(url) => {
                let documents = mongodb::all(url, "ratings").await?;
                documents.iter().filter_map(|document| document["rating"].as_i64()).collect()
            }
            Stored::MySql(access) => {
                let rows = mysql::rows(access, QUERY).await?;
                rows.iter().filter_map(|row| row.first()?.as_ref()?.parse().ok()).collect()
            }
        })
    }
}

async fn from_database(call: &Call, stored: &Stored) -> Reply {
    let id = match asked(call, "ratings") {
        Ok(id) => id,
        Err(reply) => return *reply,
    };
    if call.method == Method::POST {
        let message = json!({"error": "Post not implemented for database backed ratings"});
        return web::json(StatusCode::NOT_IMPLEMENTED, &message);
    }
    let told = tokio::time::timeout(PATIENCE, stored.ratings()).await;
    let told = told.unwrap_or_else(|_| anyhow::bail!("no answer within {PATIENCE:?}"));
    match told {
        Ok(given) => {
            let of = |index: usize| given.get(index).copied().unwrap_or(0);
            let ratings = json!({"Reviewer1": of(0), "Reviewer2": of(1)});
            web::json(StatusCode::OK, &json!({"id": id, "ratings": ratings}))
        }
        Err(error) => {
            eprintln!("the database of ratings: {error:#}");
            let message = json!({"error": "could not connect to ratings database"});
            web::json(StatusCode::INTERNAL_SERVER_ERROR, &message)
        }
    }
}

fn answer(call: &Call, posted: &Posted) -> Reply {
    let id = match asked(call, "ratings") {
        Ok(id) => id,
        Err(reply) => return *reply,
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
