//! Images that somebody has approved: lists of references, or Kubernetes manifests that have them.
//!
//! A file named `*.yaml`, `*.yml` or `*.json` is a stream of YAML documents (JSON is YAML): every text under
//! a key `image` counts, whatever the kind, so that each pod template is found, and every item of a list
//! `images`. Any other file has a reference a line; `#` begins a comment. Invariant: a file that cannot be
//! read whole makes the list fail, never shorter: what is missing in it would count as not approved.

use crate::container::declared::reference::{Reference, MAX_REFERENCE};
use crate::container::declared::ImageIdentity;
use crate::policy::lists::{self, ListError};
use arc_swap::ArcSwap;
use drift_formats::digest::Digest;
use saphyr_parser::{Event, Parser};
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Largest file that is read, bytes.
const MAX_FILE: u64 = 32 << 20;
/// Most references of all files.
const MAX_REFERENCES: usize = 1_000_000;
/// Deepest nesting of YAML that is followed.
const MAX_DEPTH: usize = 128;

/// What the list says of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Approval {
    /// It is on the list.
    Approved,
    /// The list has its repository, but not this image.
    Unapproved,
    /// The list does not have its repository.
    Unlisted,
    /// The image's reference or digest is not known.
    Unknown,
}

impl Approval {
    /// The value of `drift.image_approved`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::Unapproved => "unapproved",
            Self::Unlisted => "unlisted",
            Self::Unknown => "unknown",
        }
    }
}

/// What is approved of one repository.
#[derive(Debug, Default)]
struct Repository {
    digests: HashSet<Digest>,
    /// Tags that are approved whatever they stand for.
    tags: HashSet<String>,
}

/// The approved images.
#[derive(Debug, Default)]
pub struct Approved {
    repositories: HashMap<String, Repository>,
    digests: HashSet<Digest>,
}

impl Approved {
    fn add(&mut self, text: &str) -> bool {
        let Some(reference) = Reference::parse(text) else { return false };
        let repository = self.repositories.entry(reference.repository).or_default();
        match reference.digest {
            Some(digest) => {
                repository.digests.insert(digest);
                self.digests.insert(digest);
            }
            None => {
                repository.tags.insert(reference.tag.unwrap_or_else(|| "latest".to_owned()));
            }
        }
        true
    }

    /// Reads one file's text: a stream of YAML documents, or lines.
    ///
    /// # Errors
    /// Where and what.
    pub fn parse(text: &str, is_yaml: bool) -> Result<Self, String> {
        let mut approved = Self::default();
        let mut take = |reference: &str| approved.add(reference);
        if is_yaml {
            from_yaml(text, &mut take)?;
        } else {
            from_lines(text, &mut take)?;
        }
        Ok(approved)
    }

    /// Number of repositories.
    pub fn len(&self) -> usize {
        self.repositories.len()
    }

    /// Whether nothing is approved.
    pub fn is_empty(&self) -> bool {
        self.repositories.is_empty()
    }

    /// What the list says of an image. A digest decides where the list has any of the repository; a tag only
    /// where it was approved without one.
    pub fn judge(&self, image: &ImageIdentity) -> Approval {
        let known = |digests: &HashSet<Digest>| {
            image.id.iter().chain(&image.digests).chain(image.digest().iter()).any(|d| digests.contains(d))
        };
        let Some(reference) = image.parsed() else {
            // Deployed by its id, or under no name that is kept: only a digest can speak for it.
            return if known(&self.digests) { Approval::Approved } else { Approval::Unknown };
        };
        let Some(repository) = self.repositories.get(&reference.repository) else {
            return Approval::Unlisted;
        };
        let tag = reference.tag.as_deref().or(reference.digest.is_none().then_some("latest"));
        if known(&repository.digests) || tag.is_some_and(|tag| repository.tags.contains(tag)) {
            return Approval::Approved;
        }
        match image.digest() {
            None if !repository.digests.is_empty() => Approval::Unknown,
            _ => Approval::Unapproved,
        }
    }
}

/// Reads all files, and those in the folders.
///
/// # Errors
/// [`ListError`].
pub fn load(paths: &[PathBuf]) -> Result<Approved, ListError> {
    let mut approved = Approved::default();
    let mut count = 0;
    for path in lists::list(paths)? {
        let text = lists::read_text(&path, MAX_FILE)?;
        let is_yaml = path.extension().is_some_and(|e| e == "yaml" || e == "yml" || e == "json");
        let mut take = |reference: &str| -> bool {
            count += 1;
            count <= MAX_REFERENCES && approved.add(reference)
        };
        let result = if is_yaml { from_yaml(&text, &mut take) } else { from_lines(&text, &mut take) };
        result.map_err(|why| ListError::Content { path, why })?;
        if count > MAX_REFERENCES {
            return Err(ListError::TooMany(format!("{MAX_REFERENCES} references")));
        }
    }
    Ok(approved)
}

/// How often the files are looked at, at most.
const LOOK: Duration = Duration::from_secs(10);

/// Keeps a list up to date: read anew when a file changed.
#[derive(Debug)]
pub struct Watch {
    paths: Vec<PathBuf>,
    list: Arc<ArcSwap<Approved>>,
    known: lists::State,
    looked: Instant,
}

impl Watch {
    /// Of a list that was read not long ago: the first look reads it again, in case it changed since.
    pub fn new(paths: &[PathBuf], list: Arc<ArcSwap<Approved>>) -> Self {
        Self { paths: paths.to_owned(), list, known: Vec::new(), looked: Instant::now() }
    }

    /// The list.
    pub fn list(&self) -> &ArcSwap<Approved> {
        &self.list
    }

    /// Looks whether a file changed, unless that was done a moment ago. One that is being written is looked
    /// at again next time; the last good list counts until then.
    ///
    /// # Errors
    /// [`ListError`].
    pub fn refresh(&mut self) -> Result<(), ListError> {
        if self.looked.elapsed() < LOOK {
            return Ok(());
        }
        self.looked = Instant::now();
        let now = lists::state(&self.paths);
        if now != self.known {
            self.list.store(Arc::new(load(&self.paths)?));
            self.known = now;
        }
        Ok(())
    }
}

fn from_lines(text: &str, take: &mut dyn FnMut(&str) -> bool) -> Result<(), String> {
    for (number, line) in text.lines().enumerate() {
        let reference = line.split('#').next().unwrap_or_default().trim();
        if !reference.is_empty() && !take(reference) {
            let shown: String = reference.chars().take(100).collect();
            return Err(format!("line {}: {shown:?} is no image reference", number + 1));
        }
    }
    Ok(())
}

/// Where in a document a scalar stands.
enum Level {
    /// In a mapping; the key that was read last, where a value comes next.
    Map(Option<String>),
    /// In a sequence, and whether its items are references.
    List(bool),
}

fn from_yaml(text: &str, take: &mut dyn FnMut(&str) -> bool) -> Result<(), String> {
    let mut levels: Vec<Level> = Vec::new();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|e| e.to_string())?;
        let at = |what: &str| format!("line {}: {what}", span.start.line());
        match event {
            Event::MappingStart(..) | Event::SequenceStart(..) => {
                // A top-level list is one of references; further down one under the key `images`.
                let of_images = match levels.last_mut() {
                    None => true,
                    Some(Level::Map(key)) => key.take().is_some_and(|k| k == "images"),
                    Some(Level::List(_)) => false,
                };
                let is_map = matches!(event, Event::MappingStart(..));
                levels.push(if is_map { Level::Map(None) } else { Level::List(of_images) });
                if levels.len() > MAX_DEPTH {
                    return Err(at("nested too deeply"));
                }
            }
            Event::MappingEnd | Event::SequenceEnd => drop(levels.pop()),
            Event::Alias(..) => {
                if let Some(Level::Map(key)) = levels.last_mut() {
                    // Expanding aliases takes no bounded work. What one would stand for would be missing.
                    if key.take().is_some_and(|k| k == "image" || k == "images") {
                        return Err(at("an alias (`*name`) is not followed; write the reference out"));
                    }
                }
            }
            Event::Scalar(value, ..) => match levels.last_mut() {
                Some(Level::Map(key)) => match key.take() {
                    None => *key = Some(value.chars().take(MAX_REFERENCE).collect()),
                    // A chart may have an empty image, and other kinds other things under this key.
                    Some(name) if name == "image" => drop(take(&value)),
                    Some(_) => {}
                },
                Some(Level::List(true)) if !take(&value) => {
                    let shown: String = value.chars().take(100).collect();
                    return Err(at(&format!("{shown:?} is no image reference")));
                }
                Some(Level::List(_)) => {}
                None if value.trim().is_empty() => {}
                None => return Err(at("a single text, not a list or manifest")),
            },
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "approved_tests.rs"]
mod tests;
