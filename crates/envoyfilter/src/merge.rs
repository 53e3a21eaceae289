//! Merging one message into another as Istio does it, which is protobuf's own merge with two exceptions:
//! durations are replaced (their seconds and nanoseconds are one value), and configuration in an `Any` is
//! merged if both are of one type.

use crate::message::{is_any, pack, text, unpack};
use prost_reflect::{DynamicMessage, ReflectMessage as _, Value};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lists {
    Append,
    /// `MERGE_AND_REPLACE_LIST`.
    Replace,
}

/// Sets in `into` what is set in `from`: scalars and maps' entries are replaced, messages are merged. A
/// scalar that has its default value is not set, so it replaces nothing.
pub(crate) fn merge(into: &mut DynamicMessage, from: &DynamicMessage, lists: Lists) {
    for (field, value) in from.fields() {
        match value {
            Value::List(new) if lists == Lists::Append => {
                if let Some(list) = into.get_field_mut(&field).as_list_mut() {
                    list.extend(new.iter().cloned());
                }
            }
            Value::Map(new) => {
                if let Some(map) = into.get_field_mut(&field).as_map_mut() {
                    map.extend(new.iter().map(|(k, v)| (k.clone(), v.clone())));
                }
            }
            Value::Message(new) if into.has_field(&field) && !is_duration(new) => {
                if let Some(old) = into.get_field_mut(&field).as_message_mut() {
                    merge_message(old, new, lists);
                }
            }
            _ => into.set_field(&field, value.clone()),
        }
    }
}

fn merge_message(old: &mut DynamicMessage, new: &DynamicMessage, lists: Lists) {
    if !is_any(old) {
        return merge(old, new, lists);
    }
    let same_type = text(old, "type_url") == text(new, "type_url");
    match (unpack(old), unpack(new)) {
        (Some(mut inner), Some(from)) if same_type => {
            merge(&mut inner, &from, lists);
            if let Some(any) = pack(&inner) {
                *old = any;
            }
        }
        _ => *old = new.clone(),
    }
}

fn is_duration(message: &DynamicMessage) -> bool {
    message.descriptor().full_name() == "google.protobuf.Duration"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{descriptor, from_json};
    use serde_json::json;

    fn merged(
        name: &str,
        into: serde_json::Value,
        from: serde_json::Value,
        lists: Lists,
    ) -> DynamicMessage {
        let of = descriptor(name).unwrap();
        let mut a = from_json(&of, &into, true).unwrap();
        merge(&mut a, &from_json(&of, &from, true).unwrap(), lists);
        a
    }

    const CLUSTER: &str = "envoy.config.cluster.v3.Cluster";

    #[test]
    fn scalars_are_replaced_lists_grow_durations_are_one_value() {
        let got = merged(
            CLUSTER,
            json!({"name": "a", "connectTimeout": "1.5s", "healthChecks": [{"timeout": "1s"}],
                "circuitBreakers": {"thresholds": [{"maxConnections": 1}]}}),
            json!({"connectTimeout": "10s", "healthChecks": [{"timeout": "2s"}], "lbPolicy": "RANDOM"}),
            Lists::Append,
        );
        let wanted = from_json(
            &descriptor(CLUSTER).unwrap(),
            &json!({"name": "a", "connectTimeout": "10s", "lbPolicy": "RANDOM",
                "healthChecks": [{"timeout": "1s"}, {"timeout": "2s"}],
                "circuitBreakers": {"thresholds": [{"maxConnections": 1}]}}),
            true,
        );
        assert_eq!(got, wanted.unwrap());
    }

    #[test]
    fn lists_are_replaced_where_that_is_asked_for() {
        let got = merged(
            CLUSTER,
            json!({"healthChecks": [{"timeout": "1s"}]}),
            json!({"healthChecks": [{"timeout": "2s"}]}),
            Lists::Replace,
        );
        let wanted = json!({"healthChecks": [{"timeout": "2s"}]});
        assert_eq!(got, from_json(&descriptor(CLUSTER).unwrap(), &wanted, true).unwrap());
    }

    #[test]
    fn configuration_of_one_type_is_merged_and_of_another_replaced() {
        let filter = |config| json!({"name": "f", "typedConfig": config});
        let of = "envoy.config.listener.v3.Filter";
        let tcp = |rest: serde_json::Value| {
            let mut all = json!({"@type":
                "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"});
            all.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
            all
        };
        let got = merged(
            of,
            filter(tcp(json!({"statPrefix": "a", "cluster": "c"}))),
            filter(tcp(json!({"statPrefix": "b"}))),
            Lists::Append,
        );
        let wanted = filter(tcp(json!({"statPrefix": "b", "cluster": "c"})));
        assert_eq!(got, from_json(&descriptor(of).unwrap(), &wanted, true).unwrap());
        let echo = json!({"@type":
            "type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo"});
        let got =
            merged(of, filter(tcp(json!({"cluster": "c"}))), filter(echo.clone()), Lists::Append);
        assert_eq!(got, from_json(&descriptor(of).unwrap(), &filter(echo), true).unwrap());
    }
}
