//! `mongodb`: the shop's ratings in MongoDB's wire protocol, and the client that `ratings` asks it with.
//! The server answers what drivers say to get acquainted, `find` and `insert`; nothing is kept on disk.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::bson::{self, Document};
use crate::flags::Flags;
use crate::web;

pub const PORT: u16 = 27017;
const OP_REPLY: i32 = 1;
const OP_QUERY: i32 = 2004;
const OP_MSG: i32 = 2013;
const HEAD: usize = 16;
const LARGEST: usize = 1 << 20;
/// Documents that one collection holds at most.
const MOST: usize = 1000;
/// Collections that there are at most.
const MOST_COLLECTIONS: usize = 100;

/// Documents by database and collection: `test.ratings`.
type Store = Rc<RefCell<BTreeMap<String, Vec<Value>>>>;

pub async fn serve(flags: &Flags) -> anyhow::Result<()> {
    let listener = web::listen(flags.number("port", PORT)?).await?;
    let ratings = vec![json!({"_id": 1, "rating": 5}), json!({"_id": 2, "rating": 4})];
    let store: Store = Rc::new(RefCell::new([("test.ratings".to_owned(), ratings)].into()));
    web::each(listener, move |stream, _| {
        let store = store.clone();
        async move {
            if let Err(error) = connection(stream, &store).await {
                println!("a connection ended: {error:#}");
            }
        }
    })
    .await
}

async fn connection(mut stream: TcpStream, store: &Store) -> anyhow::Result<()> {
    while let Some(message) = Message::read(&mut stream).await? {
        let reply = answer(&message.document, store);
        let code = if message.code == OP_QUERY { OP_REPLY } else { OP_MSG };
        Message { id: message.id, code, document: reply }.write(&mut stream).await?;
    }
    Ok(())
}

/// A command or what is said to it; `id` is the command's own in both.
struct Message {
    id: i32,
    code: i32,
    document: Document,
}

impl Message {
    async fn read(stream: &mut TcpStream) -> anyhow::Result<Option<Message>> {
        let mut head = [0; HEAD];
        if stream.read_exact(&mut head).await.is_err() {
            return Ok(None);
        }
        let number = |at: usize| {
            head[at..].first_chunk().map_or(0, |bytes: &[u8; 4]| i32::from_le_bytes(*bytes))
        };
        let length = usize::try_from(number(0))?;
        ensure!((HEAD..=LARGEST).contains(&length), "a message of {length} bytes");
        let mut body = vec![0; length - HEAD];
        stream.read_exact(&mut body).await?;
        let (id, code) = (number(4), number(12));
        let document = match code {
            OP_MSG => sections(&body),
            OP_REPLY => body.get(20..).and_then(|rest| Some(bson::decode(rest)?.0)),
            OP_QUERY => query(&body),
            other => bail!("operation {other} is not known"),
        };
        let document = document.context("a message that cannot be read")?;
        Ok(Some(Message { id, code, document }))
    }

    async fn write(&self, stream: &mut TcpStream) -> std::io::Result<()> {
        let before: &[u8] = match self.code {
            // No flags, no cursor, from the first of one document.
            OP_REPLY => &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0],
            // No flags, one section of the first kind.
            _ => &[0; 5],
        };
        let document = bson::encode(&self.document);
        let length = i32::try_from(HEAD + before.len() + document.len()).unwrap_or(i32::MAX);
        let mut out = Vec::new();
        for number in [length, self.id, self.id, self.code] {
            out.extend(number.to_le_bytes());
        }
        stream.write_all(&[&out, before, &document].concat()).await
    }
}

/// The document of an OP_MSG: the body, and lists that stand in sections of their own.
fn sections(body: &[u8]) -> Option<Document> {
    let mut rest = body.get(4..)?;
    let mut whole = Document::new();
    while let Some((kind, after)) = rest.split_first() {
        if *kind == 0 {
            let (document, length) = bson::decode(after)?;
            whole.extend(document);
            rest = &after[length..];
            continue;
        }
        let length = usize::try_from(i32::from_le_bytes(*after.first_chunk()?)).ok()?;
        let section = after.get(4..length)?;
        let end = section.iter().position(|byte| *byte == 0)?;
        let name = String::from_utf8_lossy(&section[..end]).into_owned();
        let mut documents = &section[end + 1..];
        let mut list = Vec::new();
        while !documents.is_empty() {
            let (document, length) = bson::decode(documents)?;
            list.push(Value::Object(document));
            documents = &documents[length..];
        }
        whole.insert(name, Value::Array(list));
        rest = after.get(length..)?;
    }
    Some(whole)
}

/// The document of an OP_QUERY: flags, a name, two numbers, then it.
fn query(body: &[u8]) -> Option<Document> {
    let rest = body.get(4..)?;
    let end = rest.iter().position(|byte| *byte == 0)?;
    Some(bson::decode(rest.get(end + 9..)?)?.0)
}

fn answer(command: &Document, store: &Store) -> Document {
    let verb = command.keys().next().map(String::as_str).unwrap_or_default();
    let name = command.get(verb).and_then(Value::as_str).unwrap_or_default();
    let database = command.get("$db").and_then(Value::as_str).unwrap_or("test");
    let place = format!("{database}.{name}");
    let said = match verb {
        "hello" | "isMaster" | "ismaster" => json!({
            "ismaster": true, "isWritablePrimary": true, "helloOk": true, "minWireVersion": 0,
            "maxWireVersion": 17, "maxBsonObjectSize": LARGEST, "maxMessageSizeBytes": LARGEST,
            "maxWriteBatchSize": MOST, "readOnly": false, "ok": 1
        }),
        "ping" | "endSessions" => json!({"ok": 1}),
        "buildInfo" | "buildinfo" => {
            json!({"version": "4.4.0", "versionArray": [4, 4, 0, 0], "ok": 1})
        }
        "find" => {
            let found = find(&store.borrow(), &place, command.get("filter"));
            json!({"cursor": {"firstBatch": found, "id": 0, "ns": place}, "ok": 1})
        }
        "insert" => {
            let documents = command.get("documents").and_then(Value::as_array);
            insert(&mut store.borrow_mut(), place, documents.map_or(&[], Vec::as_slice))
        }
        other => json!({"ok": 0, "errmsg": format!("no such command: '{other}'"), "code": 59,
            "codeName": "CommandNotFound"}),
    };
    said.as_object().cloned().unwrap_or_default()
}

fn insert(store: &mut BTreeMap<String, Vec<Value>>, place: String, documents: &[Value]) -> Value {
    if !store.contains_key(&place) && store.len() >= MOST_COLLECTIONS {
        let why = format!("there are {MOST_COLLECTIONS} collections already; none can be added");
        return json!({"ok": 0, "errmsg": why, "code": 8000, "codeName": "TooManyCollections"});
    }
    let collection = store.entry(place).or_default();
    let count = documents.len().min(MOST.saturating_sub(collection.len()));
    collection.extend_from_slice(&documents[..count]);
    json!({"n": count, "ok": 1})
}

/// Those of a collection whose fields are as the filter says.
fn find(store: &BTreeMap<String, Vec<Value>>, place: &str, filter: Option<&Value>) -> Vec<Value> {
    let filter = filter.and_then(Value::as_object).cloned().unwrap_or_default();
    let fits = |document: &&Value| filter.iter().all(|(key, value)| document[key] == *value);
    store.get(place).into_iter().flatten().filter(fits).cloned().collect()
}

/// All of a collection, from `mongodb://HOST[:PORT]/DATABASE`.
pub async fn all(url: &str, collection: &str) -> anyhow::Result<Vec<Value>> {
    let rest = url.strip_prefix("mongodb://").context("the URL does not begin with mongodb://")?;
    let (host, database) = rest.split_once('/').unwrap_or((rest, "test"));
    let host = if host.contains(':') { host.to_owned() } else { format!("{host}:{PORT}") };
    let database = database.split('?').next().unwrap_or(database);
    let mut stream = TcpStream::connect(&host).await.with_context(|| host.clone())?;
    stream.set_nodelay(true)?;
    let command = json!({"find": collection, "filter": {}, "$db": database});
    let document = command.as_object().cloned().unwrap_or_default();
    Message { id: 1, code: OP_MSG, document }.write(&mut stream).await?;
    let reply = Message::read(&mut stream).await?.context("the database ended the connection")?;
    ensure!(reply.document.get("ok") == Some(&json!(1)), "{}", Value::Object(reply.document));
    let batch = reply.document.get("cursor").and_then(|cursor| cursor.get("firstBatch"));
    Ok(batch.and_then(Value::as_array).cloned().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_may_store_has_its_bounds() {
        let store = Store::default();
        let insert = |collection: &str, count: usize| {
            let documents = vec![json!({"rating": 1}); count];
            let command = json!({"insert": collection, "documents": documents, "$db": "test"});
            answer(command.as_object().unwrap(), &store)
        };
        assert_eq!(insert("0", MOST + 1)["n"], MOST);
        for name in 1..MOST_COLLECTIONS {
            assert_eq!(insert(&name.to_string(), 1)["ok"], 1);
        }
        assert_eq!(insert("one more", 1)["ok"], 0);
        assert_eq!(insert("1", 1)["n"], 1);
        assert_eq!(store.borrow().len(), MOST_COLLECTIONS);
    }
}
