//! Many changed files as few lines: what lies below one directory is summed up until the list fits a screen.
//!
//! Invariant: each finding is counted in exactly one line; there are no more lines than was asked for.

use drift_core::scan::{FileChange, FileFinding};
use rustix::fs::FileType;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// Directories with more changes of one kind than this are summed up.
const FEW: usize = 8;

/// A line of the list.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// One finding, by its place in the list that was given.
    One(usize),
    /// What is in a directory and has no line of its own.
    Below(Group),
}

/// What a line sums up.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Group {
    /// The directory.
    pub(crate) path: Vec<u8>,
    /// How many of each change.
    pub(crate) changes: BTreeMap<&'static str, usize>,
    /// Programs, libraries and scripts among them.
    pub(crate) code: usize,
    /// Those that gained a privilege.
    pub(crate) gained: usize,
    /// Bytes of those that are there.
    pub(crate) bytes: u64,
}

/// Whether a finding is of a program, library or script.
pub(crate) fn is_code(f: &FileFinding) -> bool {
    f.change.is_drift() && (f.content.starts_with("elf") || f.content == "script")
}

/// A directory with its findings.
#[derive(Debug, Default)]
struct Directory {
    /// The finding on itself.
    own: Option<usize>,
    children: BTreeMap<Vec<u8>, Directory>,
    /// Of itself and all below.
    sum: Group,
}

/// What is opened first: where changes differ, then where code is, then where most is.
type Rank = (bool, usize, usize);

impl Group {
    fn add(&mut self, f: &FileFinding) {
        *self.changes.entry(f.change.as_str()).or_default() += 1;
        self.code += usize::from(is_code(f));
        self.gained += usize::from(!f.gained.is_empty());
        let there = f.now.filter(|_| f.kind == FileType::RegularFile);
        self.bytes = self.bytes.saturating_add(there.map_or(0, |now| now.size));
    }

    fn merge(&mut self, other: &Self) {
        for (change, count) in &other.changes {
            *self.changes.entry(change).or_default() += count;
        }
        self.code += other.code;
        self.gained += other.gained;
        self.bytes = self.bytes.saturating_add(other.bytes);
    }

    /// How many findings.
    pub(crate) fn count(&self) -> usize {
        self.changes.values().sum()
    }
}

impl Directory {
    fn of(findings: &[FileFinding], shown: impl Fn(&FileFinding) -> bool) -> Self {
        let mut root = Self::default();
        for (i, finding) in findings.iter().enumerate().filter(|(_, f)| shown(f)) {
            let mut at = &mut root;
            at.sum.add(finding);
            for name in finding.path.as_bytes().split(|b| *b == b'/').filter(|n| !n.is_empty()) {
                at = at.children.entry(name.to_vec()).or_default();
                at.sum.add(finding);
            }
            at.own = Some(i);
        }
        root
    }

    fn rank(&self) -> Rank {
        (self.sum.changes.len() > 1, self.sum.code + self.sum.gained, self.sum.count())
    }

    /// Whether one line says as much as many.
    fn is_alike(&self, findings: &[FileFinding]) -> bool {
        let is_new = self.own.and_then(|i| findings.get(i)).is_some_and(|f| f.change == FileChange::Created);
        let is_flat = self.children.values().all(|c| c.children.is_empty());
        self.sum.changes.len() == 1 && self.sum.count() > FEW && (is_new || is_flat)
    }
}

/// A file of a directory: its path, its place in the list, and its sum.
type Leaf<'t> = (Vec<u8>, usize, &'t Group);

/// The lines for those findings that are shown. `max`: how many, at least 1.
pub(crate) fn fold(findings: &[FileFinding], shown: impl Fn(&FileFinding) -> bool, max: usize) -> Vec<Line> {
    let root = Directory::of(findings, shown);
    if root.sum.changes.is_empty() {
        return Vec::new();
    }
    // By path, then one finding before the groups of its directory.
    let mut lines: BTreeMap<(Vec<u8>, &str), Line> = BTreeMap::new();
    // Each directory that is still to be opened has one line.
    let mut left = max.saturating_sub(1);
    let mut directories = vec![&root];
    let mut open = BinaryHeap::from([(root.rank(), Vec::new(), 0)]);
    while let Some((_, path, at)) = open.pop() {
        let Some(directory) = directories.get(at).copied() else { continue };
        let budget = left + 1;
        let mut own: Vec<(Vec<u8>, &str, Line)> = Vec::new();
        own.extend(directory.own.map(|i| (path.clone(), "", Line::One(i))));
        let (leaves, mut below): (Vec<_>, Vec<_>) =
            directory.children.iter().partition(|(_, child)| child.children.is_empty());
        let mut by_change: BTreeMap<&str, Vec<Leaf<'_>>> = BTreeMap::new();
        for (name, leaf) in leaves {
            let Some(i) = leaf.own else { continue };
            let change = leaf.sum.changes.keys().next().copied().unwrap_or_default();
            by_change.entry(change).or_default().push((joined(&path, name), i, &leaf.sum));
        }
        for (change, leaves) in by_change {
            if leaves.len() > FEW {
                let mut group = Group { path: path.clone(), ..Group::default() };
                leaves.iter().for_each(|(_, _, sum)| group.merge(sum));
                own.push((path.clone(), change, Line::Below(group)));
            } else {
                own.extend(leaves.into_iter().map(|(path, i, _)| (path, "", Line::One(i))));
            }
        }
        let fits = own.len() + below.len() <= budget;
        if directory.is_alike(findings) || (!fits && own.len() + 1 > budget) {
            let mut group = Group { path: path.clone(), ..Group::default() };
            group.merge(&directory.sum);
            lines.insert((path, "~"), Line::Below(group));
            continue;
        }
        below.sort_by_key(|(name, child)| (Reverse(child.rank()), *name));
        let others = if fits { Vec::new() } else { below.split_off(budget.saturating_sub(own.len() + 1)) };
        left = budget.saturating_sub(own.len() + below.len() + usize::from(!others.is_empty()));
        lines.extend(own.into_iter().map(|(path, change, line)| ((path, change), line)));
        if !others.is_empty() {
            let mut group = Group { path: path.clone(), ..Group::default() };
            others.iter().for_each(|(_, child)| group.merge(&child.sum));
            lines.insert((path.clone(), "~"), Line::Below(group));
        }
        for (name, child) in below {
            let path = joined(&path, name);
            open.push((child.rank(), path, directories.len()));
            directories.push(child);
        }
    }
    lines.into_values().collect()
}

fn joined(path: &[u8], name: &[u8]) -> Vec<u8> {
    [path, b"/", name].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use drift_core::host::InodeId;
    use drift_core::scan::Attributes;
    use drift_formats::entry::ImagePath;

    pub(crate) fn finding(
        path: &str,
        change: FileChange,
        kind: FileType,
        content: &'static str,
    ) -> FileFinding {
        let now = Attributes {
            kind,
            mode: 0o644,
            owner: (0, 0),
            size: 100,
            rdev: (0, 0),
            inode: InodeId { ino: 1, ctime: 0, mtime: 0 },
        };
        FileFinding {
            path: ImagePath::from_archive(path.as_bytes()).unwrap(),
            image_path: None,
            change,
            kind,
            content,
            now: Some(now),
            before: None,
            gained: Vec::new(),
            covered: false,
            why: String::new(),
        }
    }

    fn file(path: &str, change: FileChange) -> FileFinding {
        finding(path, change, FileType::RegularFile, "other")
    }

    fn shown(findings: &[FileFinding], max: usize) -> Vec<String> {
        let mut sorted = findings.to_vec();
        sorted.sort_by(|a, b| a.path.cmp(&b.path));
        let lines = fold(&sorted, |_| true, max);
        let mut count = 0;
        let text = lines.iter().map(|line| match line {
            Line::One(i) => {
                count += 1;
                String::from_utf8_lossy(sorted[*i].path.as_bytes()).into_owned()
            }
            Line::Below(group) => {
                count += group.count();
                format!("{}/* {:?}", String::from_utf8_lossy(&group.path), group.changes)
            }
        });
        let text = text.collect();
        assert_eq!(count, findings.len(), "each is counted once: {lines:?}");
        assert!(lines.len() <= max, "{lines:?}");
        text
    }

    #[test]
    fn few_changes_are_listed() {
        use FileChange::{Created, Modified};
        assert!(shown(&[], 40).is_empty());
        let few = [file("/etc/passwd", Modified), file("/opt/x", Created)];
        assert_eq!(shown(&few, 40), ["/etc/passwd", "/opt/x"]);
    }

    #[test]
    fn a_directory_with_many_new_files_is_one_line() {
        use FileChange::{Created, Modified};
        let mut all = vec![
            file("/etc/passwd", Modified),
            finding("/opt/app", Created, FileType::Directory, "other"),
            finding("/opt/app/lib", Created, FileType::Directory, "other"),
        ];
        all.extend((0..300).map(|i| file(&format!("/opt/app/lib/{i}"), Created)));
        all.extend((0..20).map(|i| file(&format!("/usr/lib/a{i}"), Created)));
        all.push(file("/usr/lib/libc.so", Modified));
        assert_eq!(
            shown(&all, 40),
            [
                "/etc/passwd",
                "/opt/app/* {\"created\": 302}",
                "/usr/lib/* {\"created\": 20}",
                "/usr/lib/libc.so",
            ]
        );
    }

    #[test]
    fn no_container_makes_the_list_longer_than_asked() {
        use FileChange::{Created, Deleted, Modified};
        let mut all: Vec<_> = (0..5000)
            .flat_map(|i| {
                let change = [Created, Modified, Deleted][i % 3];
                [file(&format!("/d{i}/a"), change), file(&format!("/d{i}/e/{i}/b"), Created)]
            })
            .collect();
        all.push(finding("/usr/bin/evil", Created, FileType::RegularFile, "elf_exec"));
        for max in [1, 2, 3, 10, 40] {
            let lines = shown(&all, max);
            assert!(lines.len() <= max);
            if max >= 10 {
                let named = lines.iter().any(|l| l == "/usr/bin/evil");
                assert!(named || lines.len() == max, "{lines:?}");
            }
        }
        let mut deep = String::new();
        let deep: Vec<_> = (0..250)
            .map(|i| {
                deep += &format!("/{i}");
                file(&deep, Created)
            })
            .collect();
        shown(&deep, 40);
    }
}
