//! Fields: each family's file has a table of definitions, with type, documentation and the function that
//! answers; here they are put together.
//!
//! Invariant: no I/O here. Functions ask the [`crate::engine::Query`] and put its answers into values.

mod binary;
mod container;
mod definition;
mod environment;
mod file;
mod identity;
mod image;
mod library;
mod lost;
mod package;
mod payload;
mod peer;
mod port;
mod script;
mod source_event;
pub mod value;

pub use definition::{Argument, FieldDef, FieldType, Question, Source};

use crate::engine::Engine;
use crate::event::raw::{code, SyscallEvent};
use crate::event::threads::ThreadReader;
use crate::events::{is_ours, FileReport, LastPayload, OwnEvent, PackageReport, Payload};
use crate::ledger::Ledger;
use bumpalo::Bump;
use falco_plugin::api::ss_plugin_extract_field;
use serde_json::json;
use std::ffi::{CStr, CString};
use std::sync::OnceLock;
use value::Value;

/// The families' tables, in the order in which the engine numbers fields.
const FAMILIES: [&[FieldDef]; 13] = [
    container::FIELDS,
    identity::FIELDS,
    image::FIELDS,
    environment::FIELDS,
    port::FIELDS,
    peer::FIELDS,
    file::FIELDS,
    library::FIELDS,
    binary::FIELDS,
    script::FIELDS,
    package::FIELDS,
    source_event::FIELDS,
    lost::FIELDS,
];

/// All fields, in the order that the engine numbers them.
pub static FIELDS: &[FieldDef] = &joined::<{ count() }>();

#[expect(clippy::indexing_slicing, reason = "done by the compiler, which refuses what is out of bounds")]
const fn count() -> usize {
    let (mut count, mut family) = (0, 0);
    while family < FAMILIES.len() {
        count += FAMILIES[family].len();
        family += 1;
    }
    count
}

#[expect(clippy::indexing_slicing, reason = "done by the compiler, which refuses what is out of bounds")]
const fn joined<const N: usize>() -> [FieldDef; N] {
    let mut all = [FAMILIES[0][0]; N];
    let (mut at, mut family) = (0, 0);
    while family < FAMILIES.len() {
        let mut field = 0;
        while field < FAMILIES[family].len() {
            all[at] = FAMILIES[family][field];
            at += 1;
            field += 1;
        }
        family += 1;
    }
    all
}

/// Answers one request of the engine.
///
/// # Errors
/// The engine asked for a field that does not exist.
#[expect(unsafe_code, reason = "the engine's argument is a C string")]
pub fn answer(
    engine: &mut Engine,
    payloads: &mut LastPayload,
    event: &SyscallEvent<'_>,
    table: ThreadReader<'_>,
    request: &mut ss_plugin_extract_field,
    arena: &Bump,
) -> Result<(), anyhow::Error> {
    let def = FIELDS
        .get(request.field_id as usize)
        .ok_or_else(|| anyhow::anyhow!("field number {} does not exist", request.field_id))?;
    let argument = (request.arg_present != 0 && !request.arg_key.is_null()).then(|| {
        // SAFETY: the engine gives a NUL-terminated key that lives as long as the call (plugin_api.h).
        unsafe { CStr::from_ptr(request.arg_key) }.to_bytes()
    });
    let value = match event.async_payload() {
        _ if def.name == identity::HOST_NAME => {
            (def.answer)(&mut Question { engine: engine.ask(event, table), argument, arena })
        }
        _ if event.code == code::PLUGIN => source_event::value(def, argument, event, payloads, arena),
        // One alert for each: an end whose start was reported is not.
        Some((name, _))
            if def.name == package::FOLLOWED
                && name == PackageReport::NAME.as_bytes()
                && engine.ask(event, table).is_reported_at_start() =>
        {
            Value::Bool(false)
        }
        Some((name, data)) if is_ours(name) => {
            let payload = payloads.of(event, data);
            if def.name == file::CHANGE && name == FileReport::NAME.as_bytes() {
                confirm(payload);
            }
            payload::value(def, argument, payload, arena)
        }
        Some(_) => Value::Absent,
        None => (def.answer)(&mut Question { engine: engine.ask(event, table), argument, arena }),
    };
    value.write(request, arena);
    Ok(())
}

/// A rule has asked what became of a file: the source need not say it again.
fn confirm(payload: Option<&Payload>) {
    let text = |key| payload.and_then(|payload| payload.get(key)?.as_str());
    if let Some((container, path)) = text("container_id").zip(text("file_path")) {
        Ledger::shared().confirm(container, path.as_bytes());
    }
}

/// The definitions as the engine wants them: a JSON array (plugin_api.h, `get_fields`).
pub fn schema() -> &'static CStr {
    static SCHEMA: OnceLock<CString> = OnceLock::new();
    SCHEMA.get_or_init(|| {
        let fields: Vec<_> = FIELDS
            .iter()
            .map(|f| {
                let mut field = json!({
                    "name": f.name,
                    "type": f.field_type.as_str(),
                    "isList": f.is_list,
                    "desc": f.description,
                });
                let argument = match f.argument {
                    Argument::None => None,
                    Argument::OptionalKey => Some(json!({ "isKey": true })),
                    Argument::Key => Some(json!({ "isKey": true, "isRequired": true })),
                };
                if let (Some(argument), Some(object)) = (argument, field.as_object_mut()) {
                    object.insert("arg".into(), argument);
                }
                field
            })
            .collect();
        CString::new(serde_json::Value::from(fields).to_string()).unwrap_or_default()
    })
}
