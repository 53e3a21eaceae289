//! The HTML of the product page. No other server is needed to show it: style and pictures are inline
//! or under `/static`.

use hyper::StatusCode;
use serde_json::Value;

use super::productpage::{self, Answer};
use crate::web::{self, Reply};

pub const DESCRIPTION: &str = "Two merchants' sons, lost to each other in a shipwreck as infants, grow \
    up with the same name and the same servant's name. When they walk into the same city on the same \
    day, wives, goldsmiths and creditors all meet the wrong man. One of Shakespeare's earliest plays, \
    his shortest, and the one most crowded with slaps, chains, locked doors and mistaken kisses.";

const STYLE: &str = include_str!("page/style.css");
const COVER: &str = include_str!("page/cover.svg");
const TEMPLATE: &str = include_str!("page/frame.html");

/// What lies under `/static`.
pub fn file(name: &str) -> Option<Reply> {
    match name {
        "style.css" => Some(web::text(StatusCode::OK, "text/css", STYLE)),
        "cover.svg" => Some(web::text(StatusCode::OK, "image/svg+xml", COVER)),
        _ => None,
    }
}

pub fn index() -> String {
    let body = "<section class=\"hero\"><h1>Hello! This is a simple bookstore</h1>\
        <p>Four small services behind one page: <b>productpage</b> asks <b>details</b> and \
        <b>reviews</b>, and some versions of reviews ask <b>ratings</b>. What you see below depends \
        on how the mesh between them routes.</p>\
        <p class=\"links\"><a class=\"button\" href=\"/productpage?u=normal\">Normal user</a> \
        <a class=\"button quiet\" href=\"/productpage?u=test\">Test user</a></p></section>";
    frame("", body)
}

pub fn product(details: &Answer, reviews: &Answer, user: Option<&str>, pod: &str) -> String {
    let sign_in = match user {
        Some(user) => format!(
            "<span class=\"user\">{}</span> <a class=\"button quiet\" href=\"/logout\">Sign out</a>",
            safe(user)
        ),
        None => "<form action=\"/login\" method=\"post\" class=\"login\">\
                 <input name=\"username\" placeholder=\"User name\" aria-label=\"User name\" \
                 autocomplete=\"username\" required> \
                 <input name=\"passwd\" type=\"password\" placeholder=\"Password (any)\" \
                 aria-label=\"Password\" autocomplete=\"current-password\"> \
                 <button class=\"button\" type=\"submit\">Sign in</button></form>"
            .to_owned(),
    };
    let product = productpage::product();
    let body = format!(
        "<article class=\"book\"><img class=\"cover\" src=\"/static/cover.svg\" alt=\"\" \
         width=\"240\" height=\"340\"><div><h1>{}</h1><p><b>Summary:</b> {}</p>{}</div></article>\
         <section><h2>Book Reviews</h2>{}</section>\
         <footer>productpage on <code>{}</code></footer>",
        safe(text(&product, "title")),
        safe(text(&product, "descriptionHtml")),
        details_html(details),
        reviews_html(reviews),
        safe(pod),
    );
    frame(&sign_in, &body)
}

fn frame(sign_in: &str, body: &str) -> String {
    TEMPLATE.replace("{{style}}", STYLE).replace("{{sign-in}}", sign_in).replace("{{body}}", body)
}

fn details_html(details: &Answer) -> String {
    if details.status != 200 {
        return trouble("Error fetching product details!", details);
    }
    const ROWS: [(&str, &str); 7] = [
        ("Type", "type"),
        ("Pages", "pages"),
        ("Publisher", "publisher"),
        ("Language", "language"),
        ("ISBN-10", "ISBN-10"),
        ("ISBN-13", "ISBN-13"),
        ("Year", "year"),
    ];
    let rows: String = ROWS
        .iter()
        .filter_map(|(title, key)| Some((title, details.body.get(key)?)))
        .map(|(title, value)| {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            format!("<div><dt>{title}</dt><dd>{}</dd></div>", safe(&value))
        })
        .collect();
    format!("<h2>Book Details</h2><dl>{rows}</dl>")
}

fn reviews_html(reviews: &Answer) -> String {
    if reviews.status != 200 {
        return trouble("Error fetching product reviews!", reviews);
    }
    let list = reviews.body.get("reviews").and_then(Value::as_array);
    let cards: String = list.into_iter().flatten().map(review_html).collect();
    format!(
        "<div class=\"reviews\">{cards}</div>\
         <p class=\"served\">Reviews served by: <code>{}</code>{}</p>",
        safe(text(&reviews.body, "podname")),
        match text(&reviews.body, "clustername") {
            "" | "null" => String::new(),
            cluster => format!(" on cluster <code>{}</code>", safe(cluster)),
        },
    )
}

fn review_html(review: &Value) -> String {
    let rating = match review.get("rating") {
        None => String::new(),
        Some(rating) => match rating.get("stars").and_then(Value::as_i64) {
            Some(stars) => stars_html(stars, text(rating, "color")),
            None => format!("<p class=\"no-rating\">{}</p>", safe(text(rating, "error"))),
        },
    };
    format!(
        "<blockquote><p>{}</p><cite>{}</cite>{rating}</blockquote>",
        safe(text(review, "text")),
        safe(text(review, "reviewer")),
    )
}

/// Stars as text in a coloured element, so that a person and a script both see which version it was.
fn stars_html(stars: i64, color: &str) -> String {
    let full = usize::try_from(stars.clamp(0, 5)).unwrap_or_default();
    let glyphs = format!("{}{}", "★".repeat(full), "☆".repeat(5 - full));
    format!(
        "<font color=\"{0}\" class=\"stars stars-{0}\" title=\"{full} of 5\">{glyphs}</font>",
        safe(color)
    )
}

fn trouble(title: &str, answer: &Answer) -> String {
    format!(
        "<div class=\"trouble\" data-status=\"{}\"><h3>{title}</h3><p>{}</p></div>",
        answer.status,
        safe(text(&answer.body, "error"))
    )
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// Text from elsewhere, made harmless for HTML.
fn safe(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn page(reviews: Value, status: u16) -> String {
        let details = Answer { status: 200, body: json!({"pages": 200}) };
        product(&details, &Answer { status, body: reviews }, Some("<b>"), "pod")
    }

    #[test]
    fn versions_can_be_told_apart() {
        let review = |rating: Value| {
            json!({"podname": "reviews-v2-x", "reviews": [
            {"reviewer": "Reviewer1", "text": "t", "rating": rating}]})
        };
        let black = page(review(json!({"stars": 4, "color": "black"})), 200);
        assert!(black.contains("<title>Simple Bookstore App</title>"));
        assert!(black.contains("color=\"black\"") && black.contains("★★★★☆"));
        assert!(!black.contains("color=\"red\""));
        let none = page(json!({"reviews": [{"reviewer": "R", "text": "t"}]}), 200);
        assert!(!none.contains('★'));
        let failed =
            page(review(json!({"error": "Ratings service is currently unavailable"})), 200);
        assert!(failed.contains("Ratings service is currently unavailable"));
    }

    #[test]
    fn trouble_is_said_and_text_is_harmless() {
        let html = page(json!({"error": "Sorry, <script>"}), 500);
        assert!(html.contains("Error fetching product reviews!"));
        assert!(html.contains("Sorry, &lt;script&gt;") && !html.contains("<script>"));
        assert!(html.contains("&lt;b&gt;"), "the user's name");
    }
}
