//! `get` and `describe`.

use super::remote::{Remote, Target};
use super::{Global, jsonpath, print};
use anyhow::{Result, bail};
use clap::Args;
use serde_json::{Value, json};

#[derive(Args)]
pub struct GetArgs {
    /// KIND [NAME...], KIND/NAME, KIND,KIND or `all`
    #[arg(required = true)]
    what: Vec<String>,
    /// wide, yaml, json, name or jsonpath=TEMPLATE
    #[arg(short, long)]
    output: Option<String>,
    /// Only objects with these labels, as in `app=reviews,version!=v1`
    #[arg(short = 'l', long)]
    selector: Option<String>,
    /// All namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
}

#[derive(Args)]
pub struct DescribeArgs {
    /// KIND NAME or KIND/NAME
    #[arg(required = true)]
    what: Vec<String>,
}

pub async fn get(global: &Global, args: GetArgs) -> Result<()> {
    let mut remote = Remote::open(global).await?;
    let targets = remote.targets(&args.what).await?;
    match args.output.as_deref() {
        None | Some("wide") => get_tables(&remote, &targets, &args).await,
        Some(format) => {
            let value = fetch_all(&remote, &targets, &args).await?;
            print!("{}", formatted(&value, format)?);
            Ok(())
        }
    }
}

async fn get_tables(remote: &Remote, targets: &[Target], args: &GetArgs) -> Result<()> {
    let (mut shown, mut found) = (0, false);
    for target in targets {
        let reply = remote.connection.get_table(&path(remote, target, args)).await?;
        for warning in &reply.warnings {
            eprintln!("Warning: {warning}");
        }
        if reply.body["rows"].as_array().is_none_or(Vec::is_empty) {
            continue;
        }
        if shown > 0 {
            println!();
        }
        shown += 1;
        found = true;
        let namespace_column = args.all_namespaces && target.kind.namespaced;
        print!("{}", print::server_table(&reply.body, args.output.is_some(), namespace_column));
    }
    if !found {
        match args.all_namespaces {
            true => eprintln!("No resources found"),
            false => eprintln!("No resources found in {} namespace.", remote.namespace),
        }
    }
    Ok(())
}

/// One object, or a List of everything that was asked for.
async fn fetch_all(remote: &Remote, targets: &[Target], args: &GetArgs) -> Result<Value> {
    let mut items = Vec::new();
    for target in targets {
        let mut value = remote.connection.get(&path(remote, target, args)).await?.body;
        if target.name.is_some() {
            items.push(value);
            continue;
        }
        for item in value["items"].as_array_mut().into_iter().flatten() {
            // Items of a list do not say what they are.
            item["apiVersion"] = json!(target.kind.api_version());
            item["kind"] = json!(target.kind.kind);
            items.push(item.take());
        }
    }
    if let ([target], [item]) = (targets, &mut items[..])
        && target.name.is_some()
    {
        return Ok(item.take());
    }
    Ok(
        json!({ "apiVersion": "v1", "kind": "List", "items": items, "metadata": { "resourceVersion": "" } }),
    )
}

fn formatted(value: &Value, format: &str) -> Result<String> {
    if let Some(template) = format.strip_prefix("jsonpath=") {
        return Ok(jsonpath::render(template.trim_matches('\''), value)?);
    }
    Ok(match format {
        "yaml" => print::yaml(value),
        "json" => print::json(value),
        "name" => names(value),
        other => bail!("output format {other:?} is none of wide, yaml, json, name, jsonpath=..."),
    })
}

fn names(value: &Value) -> String {
    let line = |v: &Value| {
        let kind = v["kind"].as_str().unwrap_or_default().to_lowercase();
        let group =
            v["apiVersion"].as_str().and_then(|a| a.split_once('/')).map(|(g, _)| format!(".{g}"));
        format!(
            "{kind}{}/{}\n",
            group.unwrap_or_default(),
            v["metadata"]["name"].as_str().unwrap_or_default()
        )
    };
    match value["items"].as_array() {
        Some(items) => items.iter().map(line).collect(),
        None => line(value),
    }
}

fn path(remote: &Remote, target: &Target, args: &GetArgs) -> String {
    let namespace = (!args.all_namespaces).then_some(remote.namespace.as_str());
    let mut path = target.kind.path(namespace);
    if let Some(name) = &target.name {
        path = format!("{path}/{name}");
    }
    match &args.selector {
        Some(selector) => format!("{path}?labelSelector={}", percent_encoded(selector)),
        None => path,
    }
}

/// For a value in a query string (RFC 3986, section 2.3: everything but unreserved characters).
pub fn percent_encoded(s: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    s.bytes()
        .map(|b| if plain(b) { (b as char).to_string() } else { format!("%{b:02X}") })
        .collect()
}

pub async fn describe(global: &Global, args: DescribeArgs) -> Result<()> {
    let mut remote = Remote::open(global).await?;
    for (i, target) in remote.targets(&args.what).await?.into_iter().enumerate() {
        let Some(name) = &target.name else {
            bail!("say which one: describe {} NAME", target.kind.plural)
        };
        let path = format!("{}/{name}", target.kind.path(Some(&remote.namespace)));
        let object = remote.connection.get(&path).await?.body;
        let selector =
            format!("involvedObject.name={name},involvedObject.kind={}", target.kind.kind);
        let events = format!(
            "/api/v1/namespaces/{}/events?fieldSelector={}",
            remote.namespace,
            percent_encoded(&selector)
        );
        let events = remote.connection.get(&events).await?.body;
        if i > 0 {
            println!("\n");
        }
        print!("{}", described(&object, &events));
    }
    Ok(())
}

/// The object as indented text without what only machines read, then its events.
fn described(object: &Value, events: &Value) -> String {
    let mut object = object.clone();
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("managedFields");
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
        }
    }
    let mut out = print::yaml(&object);
    let rows: Vec<Vec<String>> =
        events["items"].as_array().into_iter().flatten().map(event_row).collect();
    if rows.is_empty() {
        out.push_str("Events: <none>\n");
        return out;
    }
    let head = ["Type", "Reason", "From", "Message"].map(String::from).to_vec();
    out.push_str("Events:\n");
    out.extend(print::table(&[vec![head], rows].concat()).lines().map(|l| format!("  {l}\n")));
    out
}

fn event_row(event: &Value) -> Vec<String> {
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let source = match event["source"]["component"].as_str() {
        Some(component) if !component.is_empty() => component.to_owned(),
        _ => text(&event["reportingComponent"]),
    };
    vec![text(&event["type"]), text(&event["reason"]), source, text(&event["message"])]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats() {
        let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "a" } });
        assert_eq!(formatted(&pod, "name").unwrap(), "pod/a\n");
        assert_eq!(formatted(&pod, "jsonpath={.metadata.name}").unwrap(), "a");
        assert_eq!(formatted(&pod, "jsonpath='{.kind}'").unwrap(), "Pod");
        assert!(formatted(&pod, "table").is_err());
        let list = json!({ "items": [{ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "d" } }] });
        assert_eq!(formatted(&list, "name").unwrap(), "deployment.apps/d\n");
    }

    #[test]
    fn a_description_ends_with_the_events() {
        let object = json!({ "metadata": { "name": "a", "managedFields": [1] } });
        let events = json!({ "items": [{ "type": "Warning", "reason": "BackOff", "source": { "component": "kubelet" }, "message": "m" }] });
        let text = described(&object, &events);
        assert!(!text.contains("managedFields"), "{text}");
        assert!(text.ends_with("Events:\n  Type      Reason    From      Message\n  Warning   BackOff   kubelet   m\n"), "{text}");
        assert!(described(&object, &json!({})).ends_with("Events: <none>\n"));
    }
}
