//! What commands print: tables as kubectl and istioctl align them, YAML, JSON, and colour only on a
//! terminal.

use serde_json::Value;
use std::io::IsTerminal;

/// Rows of cells in columns three spaces apart, without trailing blanks.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |c: usize| {
        rows.iter().filter_map(|r| r.get(c)).map(|s| s.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', width - cell.chars().count() + 3));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// A server-side table (`meta.k8s.io/v1 Table`); `wide` shows the columns of lower priority too.
pub fn server_table(value: &Value, wide: bool, namespace_column: bool) -> String {
    let definitions = value["columnDefinitions"].as_array().map_or(&[][..], Vec::as_slice);
    let shown: Vec<usize> = definitions
        .iter()
        .enumerate()
        .filter(|(_, d)| wide || d["priority"].as_i64().unwrap_or(0) == 0)
        .map(|(i, _)| i)
        .collect();
    let mut head: Vec<String> = shown
        .iter()
        .map(|&i| definitions[i]["name"].as_str().unwrap_or_default().to_uppercase())
        .collect();
    if namespace_column {
        head.insert(0, "NAMESPACE".into());
    }
    let mut rows = vec![head];
    for row in value["rows"].as_array().into_iter().flatten() {
        let mut cells: Vec<String> = shown.iter().map(|&i| cell(&row["cells"][i])).collect();
        if namespace_column {
            cells.insert(0, cell(&row["object"]["metadata"]["namespace"]));
        }
        rows.push(cells);
    }
    table(&rows)
}

fn cell(v: &Value) -> String {
    match v {
        Value::String(s) => s.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

pub fn yaml(value: &Value) -> String {
    serde_yaml_ng::to_string(value)
        .unwrap_or_else(|e| format!("# cannot be written as YAML: {e}\n"))
}

pub fn json(value: &Value) -> String {
    format!("{value:#}\n")
}

/// Red on a terminal, plain elsewhere.
pub fn red(text: &str) -> String {
    if std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
        format!("\u{1b}[31m{text}\u{1b}[0m")
    } else {
        text.to_owned()
    }
}

/// The closest of the known words, if one is close enough to be meant.
pub fn did_you_mean<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let near = known.filter_map(|k| Some((base::mistyped(word, k)?, k)));
    near.min_by_key(|(distance, _)| *distance).map(|(_, k)| k)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn columns_are_three_apart() {
        let rows = [
            vec!["NAME".to_owned(), "AGE".to_owned()],
            vec!["reviews-v1".to_owned(), "3s".to_owned()],
        ];
        assert_eq!(table(&rows), "NAME         AGE\nreviews-v1   3s\n");
    }

    #[test]
    fn a_server_table_hides_what_is_only_for_wide() {
        let value = json!({
            "columnDefinitions": [{ "name": "Name", "priority": 0 }, { "name": "Node", "priority": 1 }],
            "rows": [{ "cells": ["a", "n"], "object": { "metadata": { "namespace": "d" } } }],
        });
        assert_eq!(server_table(&value, false, true), "NAMESPACE   NAME\nd           a\n");
        assert_eq!(server_table(&value, true, false), "NAME   NODE\na      n\n");
    }

    #[test]
    fn a_slip_of_the_pen_is_understood() {
        let known = ["virtualservices", "pods", "services"];
        assert_eq!(did_you_mean("virtualservies", known.into_iter()), Some("virtualservices"));
        assert_eq!(did_you_mean("pds", known.into_iter()), Some("pods"));
        assert_eq!(did_you_mean("certificates", known.into_iter()), None);
    }
}
