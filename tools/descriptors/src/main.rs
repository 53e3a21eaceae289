//! `cargo run --release -- <envoy-types>/proto ../../crates/envoyfilter/data/envoy.deflate`: reads Envoy's
//! API as `.proto` files and writes what EnvoyFilter needs of it, the names, numbers and types of all
//! fields, as one compressed `FileDescriptorSet`.

use anyhow::{Context, Result};
use flate2::{Compression, write::DeflateEncoder};
use prost::Message;
use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorProto, FileDescriptorSet};
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{EnumOptions, FieldDescriptorProto, FieldOptions, MessageOptions};
use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};

const ROOTS: &[&str] = &[
    "data-plane-api",
    "xds",
    "googleapis",
    "protoc-gen-validate",
    "opentelemetry-proto",
    "client_model",
    "cel-spec/proto",
    "ratelimit",
];

fn main() -> Result<()> {
    let mut args = std::env::args_os().skip(1).map(PathBuf::from);
    let protos = args.next().context("the folder of .proto files is not given")?;
    let out = args.next().context("the file to write is not given")?;
    let roots: Vec<PathBuf> = ROOTS.iter().map(|r| protos.join(r)).collect();
    let mut files = Vec::new();
    find(&roots[0], &mut files)?;
    find(&roots[1], &mut files)?;
    let mut set = FileDescriptorSet::default();
    let mut known = BTreeSet::new();
    // One compiler for each: names are looked up among what a file imports, not among all.
    for file in files {
        let mut compiler = protox::Compiler::new(&roots)?;
        compiler.include_imports(true);
        if let Err(e) = compiler.open_file(&file) {
            eprintln!("left out: {}: {e}", file.display());
            continue;
        }
        let new = compiler.file_descriptor_set().file;
        set.file.extend(new.into_iter().filter(|f| known.insert(f.name().to_owned())));
    }
    // Not among the files, and the one way to name a type that Envoy's API does not have.
    set.file.extend(["xds.type.v3", "udpa.type.v1"].map(typed_struct));
    set.file.iter_mut().for_each(strip_file);
    let mut packed = DeflateEncoder::new(Vec::new(), Compression::best());
    packed.write_all(&set.encode_to_vec())?;
    std::fs::write(&out, packed.finish()?).with_context(|| out.display().to_string())?;
    println!("{} files in {}", set.file.len(), out.display());
    Ok(())
}

fn typed_struct(package: &str) -> FileDescriptorProto {
    let field = |name: &str, number: i32, kind: Type, of: Option<&str>| FieldDescriptorProto {
        name: Some(name.to_owned()),
        number: Some(number),
        label: Some(Label::Optional.into()),
        r#type: Some(kind.into()),
        type_name: of.map(str::to_owned),
        ..Default::default()
    };
    FileDescriptorProto {
        name: Some(format!("{}/typed_struct.proto", package.replace('.', "/"))),
        package: Some(package.to_owned()),
        syntax: Some("proto3".to_owned()),
        dependency: vec!["google/protobuf/struct.proto".to_owned()],
        message_type: vec![DescriptorProto {
            name: Some("TypedStruct".to_owned()),
            field: vec![
                field("type_url", 1, Type::String, None),
                field("value", 2, Type::Message, Some(".google.protobuf.Struct")),
            ],
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn find(dir: &Path, out: &mut Vec<PathBuf>) -> Result<()> {
    let mut entries: Vec<_> = std::fs::read_dir(dir)?.collect::<std::io::Result<_>>()?;
    entries.sort_by_key(std::fs::DirEntry::path);
    for path in entries.into_iter().map(|e| e.path()) {
        let old = |s: &str| s == "v2" || s.starts_with("v2alpha");
        if path.is_dir() && !path.file_name().and_then(|n| n.to_str()).is_some_and(old) {
            find(&path, out)?;
        } else if path.extension().is_some_and(|x| x == "proto") {
            out.push(path);
        }
    }
    Ok(())
}

/// Keeps what reading and writing needs: no comments, rules of validation, services, options.
fn strip_file(file: &mut FileDescriptorProto) {
    file.source_code_info = None;
    file.options = None;
    file.service.clear();
    file.extension.clear();
    file.message_type.iter_mut().for_each(strip_message);
    file.enum_type.iter_mut().for_each(strip_enum);
}

fn strip_message(message: &mut DescriptorProto) {
    let map = message.options.as_ref().and_then(|o| o.map_entry);
    message.options = map.map(|b| MessageOptions { map_entry: Some(b), ..Default::default() });
    for field in &mut message.field {
        let packed = field.options.as_ref().and_then(|o| o.packed);
        field.options = packed.map(|p| FieldOptions { packed: Some(p), ..Default::default() });
    }
    message.oneof_decl.iter_mut().for_each(|o| o.options = None);
    message.extension.clear();
    message.nested_type.iter_mut().for_each(strip_message);
    message.enum_type.iter_mut().for_each(strip_enum);
}

fn strip_enum(e: &mut EnumDescriptorProto) {
    let alias = e.options.as_ref().and_then(|o| o.allow_alias);
    e.options = alias.map(|b| EnumOptions { allow_alias: Some(b), ..Default::default() });
    e.value.iter_mut().for_each(|v| v.options = None);
}
