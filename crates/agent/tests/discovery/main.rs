//! The discovery client against a server on a real socket: it takes what comes, survives the server's
//! end, and takes up where it was.

#![allow(clippy::unwrap_used)] // What a test cannot do without ends it.

mod flips;
mod server;

use agent::{ControlPlane, Dial, News, Source, follow_source};
use ir::{Cluster, Discovery, Endpoints, Resource};
use server::serve;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use xds::server::{Desired, Dialect, Encoded};

const DEADLINE: Duration = Duration::from_secs(20);

fn world(names: &[&str]) -> Arc<Desired> {
    let mut desired = Desired::new();
    for name in names {
        let cluster = Resource::Cluster(Arc::new(Cluster::new(*name, Discovery::Eds("".into()))));
        let endpoints = Endpoints { cluster: (*name).into(), ..Default::default() };
        for resource in [cluster, Resource::Endpoints(Arc::new(endpoints))] {
            desired.insert(resource.key(), Encoded::of(&resource));
        }
    }
    Arc::new(desired)
}

fn client(
    address: SocketAddr,
    dialect: Dialect,
) -> (JoinHandle<()>, mpsc::UnboundedReceiver<News>) {
    let (news, inbox) = mpsc::unbounded_channel();
    let source = Source {
        control_plane: ControlPlane::Plain {
            address: ir::Address::Ip(address),
            dial: Dial::default(),
        },
        dialect,
        node: xds::bootstrap::Node { id: "me".into(), ..Default::default() },
        fixed: ir::Config::default(),
        asks: xds::client::CONFIGURATION,
    };
    let follow = follow_source(source, move |n| drop(news.send(n)));
    (tokio::spawn(follow), inbox)
}

/// The next configuration that has exactly these clusters, each with its endpoints.
async fn until_clusters(inbox: &mut mpsc::UnboundedReceiver<News>, names: &[&str]) {
    let wait = async {
        while let Some(news) = inbox.recv().await {
            if let News::Config(c) = news {
                let clusters: Vec<&str> = c.clusters.iter().map(|c| &*c.name).collect();
                if clusters == names && c.endpoints.len() == names.len() {
                    return;
                }
            }
        }
        panic!("the client ended");
    };
    tokio::time::timeout(DEADLINE, wait).await.expect("the configuration in time");
}

async fn until_complete(inbox: &mut mpsc::UnboundedReceiver<News>) {
    let wait = async { while !matches!(inbox.recv().await, Some(News::Complete)) {} };
    tokio::time::timeout(DEADLINE, wait).await.expect("completeness in time");
}

async fn lifetime(dialect: Dialect) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let again = listener.try_clone().unwrap();
    let (desired, seen) = watch::channel(world(&["a"]));
    let (heard, mut told) = mpsc::unbounded_channel();
    let first = serve(listener, seen.clone(), heard.clone());
    let (follower, mut inbox) = client(address, dialect);
    until_clusters(&mut inbox, &["a"]).await;
    until_complete(&mut inbox).await;
    desired.send_replace(world(&["a", "b"]));
    until_clusters(&mut inbox, &["a", "b"]).await;
    assert_eq!(told.recv().await.unwrap().node, "me");

    // The server dies and comes back with something else.
    first.abort();
    desired.send_replace(world(&["b", "c"]));
    let second = serve(again, seen, heard);
    until_clusters(&mut inbox, &["b", "c"]).await;
    let greeting = tokio::time::timeout(DEADLINE, told.recv()).await.unwrap().unwrap();
    let expected = if dialect == Dialect::Delta { 2 } else { 0 };
    assert_eq!((greeting.node.as_str(), greeting.holds), ("me", expected));
    follower.abort();
    second.abort();
}

#[tokio::test]
async fn a_delta_stream_is_taken_up_again() {
    lifetime(Dialect::Delta).await;
}

#[tokio::test]
async fn a_state_of_the_world_stream_is_taken_up_again() {
    lifetime(Dialect::StateOfTheWorld).await;
}

#[tokio::test]
async fn a_control_plane_that_is_not_there_is_named_and_tried_again() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let (follower, mut inbox) = client(address, Dialect::Delta);
    for _ in 0..2 {
        let news = tokio::time::timeout(DEADLINE, inbox.recv()).await.unwrap();
        assert!(matches!(&news, Some(News::Waiting(why)) if why.contains("refused")), "{news:?}");
    }
    follower.abort();
}
