//! Makes system calls on files, as a table says: what runs inside the containers of the live tests of file
//! drift.
//!
//! `file-call TABLE RESULTS` reads a tab-separated table of cases: an id and operations, separated by ` ; `;
//! further columns are the test's. Each case runs in a process of its own. An operation is a system call's
//! name with its arguments in words; what is no system call is described at [`Case::run`]. An operation that
//! fails where it should not, or does not fail where it should (`!` before it), is a line in RESULTS.
//!
//! Words: `=text` is a text (see [`text`]), `@name` a descriptor stored by `name<-call …`, `cwd` stands for
//! `AT_FDCWD`, numbers are decimal, `0x…` or `0o…`, names of flags are joined by `|`.

// A program of tests: it ends with a message where its own input is wrong.
#![allow(clippy::panic, clippy::expect_used)]

mod calls;
mod text;

use std::collections::HashMap;
use std::ffi::CString;
use std::io::Write as _;

use nix::libc;
use nix::sys::wait::{waitpid, WaitStatus};
use nix::unistd::{fork, ForkResult};

use text::expand;

fn main() {
    let mut args = std::env::args_os().skip(1);
    let (Some(table), Some(results)) = (args.next(), args.next()) else {
        panic!("usage: file-call TABLE RESULTS");
    };
    let table = std::fs::read_to_string(table).expect("the table");
    let mut results = std::fs::File::create(results).expect("the results");
    for line in table.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let mut columns = line.split('\t');
        let (Some(id), Some(operations)) = (columns.next(), columns.next()) else { continue };
        // SAFETY: this process has one thread.
        match unsafe { fork() }.expect("fork") {
            ForkResult::Child => {
                let failed = Case::new(id).run_all(operations);
                for line in &failed {
                    let _ = writeln!(results, "{id}\t{line}");
                }
                // SAFETY: ends the process at once, which has nothing to clean up.
                unsafe { libc::_exit(0) };
            }
            ForkResult::Parent { child } => {
                if !matches!(waitpid(child, None), Ok(WaitStatus::Exited(_, 0))) {
                    let _ = writeln!(results, "{id}\tdid not end well");
                }
            }
        }
    }
    let _ = writeln!(results, "end");
}

/// A case that runs: its descriptors by name.
struct Case<'a> {
    id: &'a str,
    stored: HashMap<&'a str, i64>,
    /// The texts that system calls were given; they must outlive them.
    texts: Vec<CString>,
}

impl<'a> Case<'a> {
    fn new(id: &'a str) -> Self {
        Self { id, stored: HashMap::new(), texts: Vec::new() }
    }

    /// Runs all operations; those that went otherwise than they should, with the reason.
    fn run_all(&mut self, operations: &'a str) -> Vec<String> {
        let mut wrong = Vec::new();
        for operation in operations.split(" ; ").map(str::trim) {
            let (should_fail, plain) = match operation.strip_prefix('!') {
                Some(rest) => (true, rest),
                None => (false, operation),
            };
            match self.run(plain) {
                Ok(()) if should_fail => wrong.push(format!("{plain}: did not fail")),
                Err(why) if !should_fail => wrong.push(format!("{plain}: {why}")),
                _ => {}
            }
        }
        wrong
    }

    /// Runs one operation. Beside system calls: `sleep MS`; `sh COMMAND` through the shell;
    /// `write @fd =text`; `openat2 dirfd =path flags mode resolve`; `poke @fd =text`, which writes through a
    /// shared mapping; `deep N =name`, which makes a directory and enters it, N times.
    fn run(&mut self, operation: &'a str) -> Result<(), String> {
        let (store, call) = match operation.split_once("<-") {
            Some((name, call)) => (Some(name), call),
            None => (None, operation),
        };
        let (name, rest) = call.split_once(' ').unwrap_or((call, ""));
        let result = match name {
            "sh" => return self.shell(rest),
            "sleep" => {
                let ms = rest.parse().map_err(|_| format!("{rest:?} is no number"))?;
                std::thread::sleep(std::time::Duration::from_millis(ms));
                return Ok(());
            }
            "deep" => return self.deep(rest),
            _ => {
                let words: Vec<&str> = rest.split(' ').filter(|word| !word.is_empty()).collect();
                let mut args = [0i64; 6];
                for (arg, word) in args.iter_mut().zip(&words) {
                    *arg = self.value(word)?;
                }
                calls::make(name, &args)
            }
        };
        let value = result.map_err(|e| e.to_string())?;
        if let Some(name) = store {
            self.stored.insert(name, value);
        }
        Ok(())
    }

    fn value(&mut self, word: &str) -> Result<i64, String> {
        if let Some(text) = word.strip_prefix('=') {
            let text = CString::new(expand(self.id, text)).map_err(|_| "a text holds a zero".to_owned())?;
            let address = text.as_ptr() as i64;
            self.texts.push(text);
            return Ok(address);
        }
        if let Some(name) = word.strip_prefix('@') {
            return self.stored.get(name).copied().ok_or_else(|| format!("nothing is stored as {name}"));
        }
        word.split('|').try_fold(0, |all, part| Ok(all | calls::number(part)?))
    }

    fn shell(&self, command: &str) -> Result<(), String> {
        use std::os::unix::ffi::OsStringExt as _;
        let command = std::ffi::OsString::from_vec(expand(self.id, command));
        let status = std::process::Command::new("/bin/sh").arg("-c").arg(command).status();
        match status.map_err(|e| e.to_string())? {
            status if status.success() => Ok(()),
            status => Err(status.to_string()),
        }
    }

    fn deep(&self, rest: &str) -> Result<(), String> {
        let (count, name) = rest.split_once(" =").ok_or("deep N =name")?;
        let name = CString::new(expand(self.id, name)).map_err(|e| e.to_string())?;
        for _ in 0..count.parse().map_err(|_| "deep N =name".to_owned())? {
            let address = name.as_ptr() as i64;
            calls::make("mkdirat", &[i64::from(libc::AT_FDCWD), address, 0o755, 0, 0, 0])
                .and_then(|_| calls::make("chdir", &[address, 0, 0, 0, 0, 0]))
                .map_err(|e| e.to_string())?;
        }
        Ok(())
    }
}
