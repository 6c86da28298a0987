//! One event of a replay, with the fields that were asked for.

use std::collections::BTreeMap;

use anyhow::{anyhow, bail, Context, Result};
use serde_json::Value;

use crate::format;

/// An event that passed the filter.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// `evt.num`: counted from 1 over the whole capture.
    pub num: u64,
    /// `evt.time`: nanoseconds since 1970, UTC.
    pub time: u64,
    values: BTreeMap<String, Option<Value>>,
}

impl Event {
    /// The value of a field: `None` when it is absent (`<NA>`), else what the engine's JSON has (text,
    /// number, bool; an array for a list field).
    ///
    /// # Errors
    /// The field was not asked for, so that a test cannot take a misspelt field for an absent one.
    pub fn value(&self, field: &str) -> Result<Option<&Value>> {
        match self.values.get(field) {
            Some(value) => Ok(value.as_ref()),
            None => Err(anyhow!("field {field:?} was not asked for")),
        }
    }

    /// The value of a field as an output message shows it: lists as `(a,b)`, `None` when absent.
    ///
    /// # Errors
    /// As [`Event::value`].
    pub fn text(&self, field: &str) -> Result<Option<String>> {
        Ok(self.value(field)?.map(|value| format::value(field, Some(value))))
    }

    /// Reads one line of the engine's JSON output.
    pub(super) fn from_json(line: &str, fields: &[&str]) -> Result<Event> {
        let json: Value = serde_json::from_str(line).with_context(|| format!("not an event: {line:?}"))?;
        let Value::Object(mut object) = json else { bail!("not an event: {line:?}") };
        let number = |key: &str| {
            object.get(key).and_then(Value::as_u64).ok_or_else(|| anyhow!("no {key} in {line:?}"))
        };
        let (num, time) = (number("evt.num")?, number("evt.time")?);
        let mut values = BTreeMap::new();
        for field in fields {
            if values.contains_key(*field) {
                continue;
            }
            let value = match *field {
                "evt.num" => Value::from(num),
                "evt.time" => Value::from(time),
                field => object.remove(field).ok_or_else(|| {
                    anyhow!(
                        "the engine gave no {field:?}: no such field, or one whose name it read differently"
                    )
                })?,
            };
            values.insert((*field).to_owned(), (!value.is_null()).then_some(value));
        }
        Ok(Event { num, time, values })
    }
}
