//! Bookinfo with a database: version 2 of ratings asks MongoDB, then MySQL, through sidecars that pass
//! both protocols as they are.

use super::stage::Scene;
use e2e::counter;

const RATINGS: &str = "http://ratings:9080/ratings/0";
const REVIEWS: &str = "http://reviews:9080/reviews/0";

pub fn play(scene: &Scene<'_>) {
    scene.start_client();
    for file in [
        "bookinfo",
        "bookinfo-db",
        "bookinfo-mysql",
        "bookinfo-ratings-v2",
        "bookinfo-ratings-v2-mysql",
    ] {
        scene.apply(&format!("bookinfo/platform/kube/{file}.yaml"));
    }
    scene.apply("bookinfo/networking/destination-rule-all.yaml");
    scene.apply("bookinfo/networking/virtual-service-ratings-db.yaml");
    scene.ready();
    stars_come_from(scene, "mongodb", "ratings-v2", 5);
    scene.kubectl(&["scale", "deployment/mongodb-v1", "--replicas=0"]);
    scene.until("no database, no ratings", RATINGS, "", |a| {
        a.status == 500 && a.body.contains("could not connect to ratings database")
    });
    scene.apply("bookinfo/networking/virtual-service-ratings-mysql.yaml");
    stars_come_from(scene, "mysqldb", "ratings-v2-mysql", 5);
    let update = "UPDATE ratings SET Rating=1 WHERE ReviewID=1";
    scene.kubectl(&[
        "exec",
        "deploy/mysqldb-v1",
        "-c",
        "mysqldb",
        "--",
        "mariadb",
        "-h",
        "127.0.0.1",
        "-u",
        "root",
        "-ppassword",
        "test",
        "-e",
        update,
    ]);
    scene.until("what is stored now", RATINGS, "", |a| a.body.contains("\"Reviewer1\":1"));
    scene.end();
}

/// Reviews are in version 3 and show the stars; the connections to the database are counted.
fn stars_come_from(scene: &Scene<'_>, database: &str, deployment: &str, stars: u8) {
    scene.until(&format!("stars of {database}"), RATINGS, "", |a| {
        a.status == 200 && a.body.contains(&format!("\"Reviewer1\":{stars}"))
    });
    scene.until("red stars", REVIEWS, "", |a| {
        a.body.contains("reviews-v3") && a.body.contains(&format!("\"stars\":{stars}"))
    });
    let service = format!("{database}.{}.svc.cluster.local", scene.namespace);
    let labels = [("reporter", "source"), ("destination_service", service.as_str())];
    scene.eventually("connections are counted", || {
        let text = scene.proxy_says(&format!("deploy/{deployment}"), "stats/prometheus");
        match counter(&text, "istio_tcp_connections_opened_total", &labels) {
            n if n >= 1.0 => Ok(()),
            n => Err(format!("{n} connections to {service}")),
        }
    });
}
