//! Bookinfo as its tutorials use it: four processes, real sockets.

#![allow(clippy::unwrap_used)]

mod programs;

use std::time::{Duration, Instant};

use programs::{Program, free_port, silent};

fn at(service: &str, port: u16) -> [(String, String); 2] {
    let upper = service.to_uppercase();
    [
        (format!("{upper}_HOSTNAME"), "127.0.0.1".to_owned()),
        (format!("{upper}_SERVICE_PORT"), port.to_string()),
    ]
}

fn start(app: &str, services: &[(&str, u16)]) -> Program {
    let env: Vec<(String, String)> =
        services.iter().flat_map(|(service, port)| at(service, *port)).collect();
    let env: Vec<(&str, String)> = env.iter().map(|(k, v)| (k.as_str(), v.clone())).collect();
    Program::start(app, &env)
}

#[test]
fn each_version_of_reviews_looks_different() {
    let details = start("details", &[]);
    let ratings = start("ratings", &[]);
    for (version, stars) in [("v1", None), ("v2", Some("black")), ("v3", Some("red"))] {
        let image = format!("examples-bookinfo-reviews-{version}");
        let reviews = start(&image, &[("ratings", ratings.port)]);
        let services = [("details", details.port), ("reviews", reviews.port)];
        let shop = start("productpage", &services);
        let page = shop.get("/productpage", "");
        assert_eq!(page.status, 200);
        assert!(page.body.contains("<title>Simple Bookstore App</title>"));
        assert!(page.body.contains("PublisherA"), "{}", page.body);
        for color in ["black", "red"] {
            let shown = page.body.contains(&format!("color=\"{color}\""));
            assert_eq!(shown, stars == Some(color), "{version}: {color}");
        }
        assert_eq!(page.body.contains("★★★★★") && page.body.contains("★★★★☆"), stars.is_some());
    }
}

#[test]
fn the_json_is_the_originals() {
    let details = start("details", &[]);
    let ratings = start("ratings", &[]);
    assert_eq!(details.get("/details/0", "").json()["ISBN-10"], "1234567890");
    assert_eq!(details.get("/details/x", "").status, 400);
    assert_eq!(
        ratings.get("/ratings/0", "").body,
        r#"{"id":0,"ratings":{"Reviewer1":5,"Reviewer2":4}}"#
    );
    ratings.post("/ratings/7", "", r#"{"Reviewer1": 1}"#);
    assert_eq!(ratings.get("/ratings/7", "").json()["ratings"]["Reviewer1"], 1);
    let reviews = start("reviews-v3", &[("ratings", ratings.port)]);
    let said = reviews.get("/reviews/0", "").json();
    assert_eq!(said["id"], "0");
    assert_eq!(said["podname"], "reviews-v3-pod");
    assert_eq!(said["reviews"][1]["rating"], serde_json::json!({"stars": 4, "color": "red"}));
    for (service, path) in [(&details, "/health"), (&ratings, "/health"), (&reviews, "/health")] {
        assert_eq!(service.get(path, "").status, 200);
    }
}

#[test]
fn missing_services_are_said_on_a_page_that_works() {
    let reviews = start("reviews-v2", &[("ratings", free_port())]);
    let said = reviews.get("/reviews/0", "").json();
    assert_eq!(said["reviews"][0]["rating"]["error"], "Ratings service is currently unavailable");
    let services = [("details", free_port()), ("reviews", free_port())];
    let shop = start("productpage", &services);
    let page = shop.get("/productpage", "");
    assert_eq!(page.status, 200);
    assert!(page.body.contains("Error fetching product details!"));
    assert!(page.body.contains("Error fetching product reviews!"));
    let api = shop.get("/api/v1/products/0/reviews", "");
    assert_eq!(api.status, 500);
    let sorry = "Sorry, product reviews are currently unavailable for this book.";
    assert_eq!(api.json()["error"], sorry);
}

/// The fault-injection tutorial: a delay of 7 s is too long for two tries of 3 s.
#[test]
fn slow_reviews_give_up_after_six_seconds_and_two_tries() {
    let (reviews, asked) = silent();
    let shop = start("productpage", &[("details", free_port()), ("reviews", reviews.port())]);
    let before = Instant::now();
    let page = shop.get("/productpage", "");
    let took = before.elapsed();
    assert!(took >= Duration::from_secs(6) && took < Duration::from_secs(8), "{took:?}");
    assert!(page.body.contains("Sorry, product reviews are currently unavailable"));
    assert_eq!(asked.try_iter().count(), 2);
}

#[test]
fn reviews_wait_ten_seconds_in_version_2_and_less_in_version_3() {
    let (ratings, _asked) = silent();
    let reviews = start("reviews-v3", &[("ratings", ratings.port())]);
    let before = Instant::now();
    let said = reviews.get("/reviews/0", "").json();
    let took = before.elapsed();
    assert!(said["reviews"][0]["rating"]["error"].is_string());
    assert!(took >= Duration::from_millis(2500) && took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn who_signs_in_is_passed_on_and_so_is_the_trace() {
    let (reviews, asked) = silent();
    let shop = start("productpage", &[("details", free_port()), ("reviews", reviews.port())]);
    let headers = "content-type: application/x-www-form-urlencoded\r\n";
    let login = shop.post("/login", headers, "username=jason&passwd=");
    assert_eq!(login.status, 302);
    let cookie = login.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let headers = format!("cookie: {cookie}\r\nx-request-id: r1\r\nend-user: forged\r\n");
    std::thread::scope(|scope| {
        let page = scope.spawn(|| shop.get("/productpage", &headers));
        let request = asked.recv_timeout(Duration::from_secs(10)).unwrap();
        assert!(request.contains("end-user: jason\r\n"), "{request}");
        assert!(!request.contains("forged"), "{request}");
        assert!(request.contains("x-request-id: r1\r\n"), "{request}");
        assert!(page.join().unwrap().body.contains("jason"));
    });
    let out = shop.get("/logout", "");
    assert!(out.header("set-cookie").unwrap().contains("Max-Age=0"));
}

#[test]
fn version_2_of_ratings_says_what_its_database_says() {
    let database = Program::start("examples-bookinfo-mongodb", &[]);
    let url = format!("mongodb://127.0.0.1:{}/test", database.port);
    let ratings = Program::start("examples-bookinfo-ratings-v2", &[("MONGO_DB_URL", url)]);
    let stars = serde_json::json!({"id": 7, "ratings": {"Reviewer1": 5, "Reviewer2": 4}});
    assert_eq!(ratings.get("/ratings/7", "").json(), stars);
    assert_eq!(ratings.post("/ratings/7", "", "{}").status, 501);
    drop(database);
    let answer = ratings.get("/ratings/7", "");
    assert_eq!(answer.status, 500);
    assert_eq!(answer.json()["error"], "could not connect to ratings database");
}
