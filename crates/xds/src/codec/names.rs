//! The name table of a proxy's DNS.

use super::at::At;
use crate::message::{Msg, Val};
use crate::schema::*;
use ir::{NameInfo, NameTable, Str};

pub(super) fn write_names(names: &NameTable) -> Msg {
    let entry = |(host, info): (&Str, &NameInfo)| (host.clone(), Val::Msg(write_info(info)));
    Msg::new(&NAME_TABLE).set("table", Val::Map(names.hosts.iter().map(entry).collect()))
}

fn write_info(info: &NameInfo) -> Msg {
    Msg::new(&NAME_INFO)
        .set("ips", Val::list(&info.ips, |ip| Str::from(ip.to_string())))
        .set("registry", &info.registry)
        .set("shortname", &info.short_name)
        .set("namespace", &info.namespace)
}

pub(super) fn read_names(at: &At) -> NameTable {
    NameTable { hosts: at.each_of_map("table", read_info).collect() }
}

fn read_info(at: &At) -> NameInfo {
    let address = |(i, text): (usize, Str)| {
        let ip = text.parse().ok();
        if ip.is_none() {
            at.path.field("ips").index(i).error(format!("{text:?} is no IP address"));
        }
        ip
    };
    NameInfo {
        ips: at.strs("ips").into_iter().enumerate().filter_map(address).collect(),
        registry: at.str("registry"),
        short_name: at.str("shortname"),
        namespace: at.str("namespace"),
    }
}
