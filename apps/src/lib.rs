//! Sample applications: Bookinfo, httpbin and the small programs that image names map to.
//!
//! One binary holds them all. Which one runs is said by the first argument or by the program's own
//! name, either being the application (`reviews`) or an image (`examples-bookinfo-reviews-v2`).
//! Each runs on a single thread and is small enough to run a dozen of beside one another.

mod bookinfo;
mod choice;
mod client;
mod database;
mod echo;
mod ext_authz;
mod flags;
mod fortio;
mod grpc;
mod helloworld;
mod httpbin;
mod https;
mod load;
mod ratelimit;
mod tcp_echo;
mod testing;
mod trace;
mod web;
mod websocket;

use std::process::ExitCode;

use choice::App;
use flags::Flags;

/// Whether an image, by whatever registry and tag, is one that an application here stands in for.
pub fn knows(image: &str) -> bool {
    choice::by_name(image).is_some()
}

/// Runs the application that the arguments ask for, until it is told to stop.
pub fn main(args: Vec<String>) -> ExitCode {
    let Some((app, rest)) = choice::choose(&args) else {
        eprintln!("lateen-apps: no application named {:?}; {}", args.get(1), choice::usage());
        return ExitCode::from(2);
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(run(app, rest)),
        Err(error) => Err(error.into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lateen-apps: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(app: App, args: &[String]) -> anyhow::Result<()> {
    let flags = Flags::parse(args);
    match app {
        App::Productpage => bookinfo::productpage(&flags).await,
        App::Details => bookinfo::details(&flags).await,
        App::Reviews(version) => bookinfo::reviews(&flags, version).await,
        App::Ratings(version) => bookinfo::ratings(&flags, version).await,
        App::Httpbin(flavour) => httpbin::run(&flags, flavour).await,
        App::Helloworld(version) => helloworld::run(&flags, version).await,
        App::TcpEcho => tcp_echo::run(&flags).await,
        App::Health => helloworld::health(&flags).await,
        App::WebSocket => websocket::run(&flags).await,
        App::Fortio => fortio::run(args).await,
        App::ExtAuthz => ext_authz::run(&flags).await,
        App::RateLimit => ratelimit::run(&flags).await,
        App::Testing => testing::run(&flags).await,
        App::Https => https::run(&flags).await,
        App::MongoDb => database::mongodb::serve(&flags).await,
        App::Load => load::run(&flags).await,
        // These become other programs, and return only if they cannot.
        App::Postgres => Err(database::postgres(args)),
        App::Mariadb => Err(database::mariadb(args, &[])),
        App::MysqlDb => Err(database::mariadb(args, &database::RATINGS)),
    }
}
