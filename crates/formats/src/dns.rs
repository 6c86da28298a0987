//! Answers of nameservers: which name an address was given for (RFC 1035, sections 4.1 and 3.1; RFC 3596 for
//! AAAA).
//!
//! What is read comes from the network, and of long answers the engine hands over the beginning only.
//! Invariants: work is bounded by the message's length and the limits here; the name is that of the question,
//! so that a chain of aliases leads to what the program asked for; a record that is cut ends the reading, and
//! what came before it counts.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Most addresses taken of one answer.
const MAX_ADDRESSES: usize = 32;
/// Most records that are looked at.
const MAX_RECORDS: usize = 64;
/// Longest name (RFC 1035, section 2.3.4), as text.
const MAX_NAME: usize = 253;
/// Most labels of a name of that length.
const MAX_LABELS: usize = 127;

const HEADER: usize = 12;
const TYPE_A: u16 = 1;
const TYPE_AAAA: u16 = 28;
const CLASS_IN: u16 = 1;

/// What an answer tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The name that was asked for, in lower case.
    pub name: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
}

/// Reads an answer; `None` for what is none, or has no address.
pub fn parse(message: &[u8]) -> Option<Answer> {
    let flags = u16_at(message, 2)?;
    let (is_response, code) = (flags & 0x8000 != 0, flags & 0xf);
    let (questions, answers) = (u16_at(message, 4)?, u16_at(message, 6)?);
    if !is_response || code != 0 || questions != 1 || answers == 0 {
        return None;
    }
    let (name, at) = question(message, HEADER)?;
    // Type and class of the question.
    let mut at = at.checked_add(4)?;
    let mut addresses = Vec::new();
    for _ in 0..usize::from(answers).min(MAX_RECORDS) {
        let Some((address, next)) = record(message, at) else { break };
        addresses.extend(address);
        if addresses.len() >= MAX_ADDRESSES {
            break;
        }
        at = next;
    }
    (!addresses.is_empty()).then_some(Answer { name, addresses })
}

/// The name of the question, which is written out, and where it ends.
fn question(message: &[u8], mut at: usize) -> Option<(String, usize)> {
    let mut name = String::new();
    for _ in 0..MAX_LABELS {
        let length = usize::from(*message.get(at)?);
        at += 1;
        if length == 0 {
            return (!name.is_empty()).then_some((name, at));
        }
        if length > 63 {
            return None;
        }
        let label = message.get(at..at + length)?;
        at += length;
        if !name.is_empty() {
            name.push('.');
        }
        // Anything else is no host's name, and could look like another one where it is shown.
        if !label.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')) {
            return None;
        }
        name.extend(label.iter().map(|b| char::from(b.to_ascii_lowercase())));
        if name.len() > MAX_NAME {
            return None;
        }
    }
    None
}

/// A record's address, where it has one, and where the next record begins.
fn record(message: &[u8], at: usize) -> Option<(Option<IpAddr>, usize)> {
    let at = skip_name(message, at)?;
    let (kind, class) = (u16_at(message, at)?, u16_at(message, at + 2)?);
    let length = usize::from(u16_at(message, at + 8)?);
    let data = message.get(at + 10..at + 10 + length)?;
    let address = match (kind, class) {
        (TYPE_A, CLASS_IN) => <[u8; 4]>::try_from(data).ok().map(|a| Ipv4Addr::from(a).into()),
        (TYPE_AAAA, CLASS_IN) => <[u8; 16]>::try_from(data).ok().map(|a| Ipv6Addr::from(a).to_canonical()),
        _ => None,
    };
    Some((address, at + 10 + length))
}

/// Where a name ends. A pointer ends it; where it leads does not matter.
fn skip_name(message: &[u8], mut at: usize) -> Option<usize> {
    for _ in 0..=MAX_LABELS {
        match *message.get(at)? {
            0 => return Some(at + 1),
            length @ 1..=63 => at += 1 + usize::from(length),
            0xc0..=0xff => return Some(at + 2),
            _ => return None,
        }
    }
    None
}

fn u16_at(message: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(message.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

#[cfg(test)]
#[path = "dns_tests.rs"]
mod tests;
