//! The table `tests/fixtures/hostile_cases.tsv`.

use super::Answer;

/// One case.
#[derive(Debug)]
pub struct Case {
    /// `hst-NN`.
    pub marker: String,
    /// Origins of the executable that are right.
    pub binary: Vec<String>,
    /// Origins of the script that are right; empty where there is none.
    pub script: Vec<String>,
    /// What the container has to be able to do.
    pub needs: String,
    /// What happens.
    pub what: String,
}

/// Reads the table.
pub fn read() -> Vec<Case> {
    let text = include_str!("../fixtures/hostile_cases.tsv");
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let cells: Vec<&str> = line.split('\t').collect();
            let [marker, binary, script, needs, what] = cells[..] else { panic!("not five columns: {line}") };
            let list = |cell: &str| match cell {
                "-" => Vec::new(),
                all => all.split('|').map(str::to_owned).collect(),
            };
            Case {
                marker: marker.to_owned(),
                binary: list(binary),
                script: list(script),
                needs: needs.to_owned(),
                what: what.to_owned(),
            }
        })
        .collect()
}

impl Case {
    /// Whether an answer is one of the right ones.
    pub fn allows(&self, answer: &Answer) -> bool {
        let right = |wanted: &[String], got: &Option<String>| match got {
            None => wanted.is_empty(),
            Some(got) => wanted.contains(got),
        };
        right(&self.binary, &answer.binary) && right(&self.script, &answer.script)
    }
}
