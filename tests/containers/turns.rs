//! Tests of one module run side by side, those of different modules take turns: drift's judgement depends on
//! pauses, which a loaded machine stretches, and what a source costs is read from this process's threads.

use std::sync::{Condvar, Mutex, PoisonError};

/// Whose turn it is, and how many of its tests run.
static TURN: Mutex<(&str, usize)> = Mutex::new(("", 0));
static ENDED: Condvar = Condvar::new();

/// The turn ends with the last of these.
pub struct Turn(());

/// Waits for a module's turn; takes its `module_path!()`.
pub fn take(path: &'static str) -> Turn {
    let module = path.split("::").nth(1).expect("a module below the crate");
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let others = |(now, running): &mut (&str, usize)| *running > 0 && *now != module;
    let mut turn = ENDED.wait_while(turn, others).unwrap_or_else(PoisonError::into_inner);
    *turn = (module, turn.1 + 1);
    Turn(())
}

impl Drop for Turn {
    fn drop(&mut self) {
        TURN.lock().unwrap_or_else(PoisonError::into_inner).1 -= 1;
        ENDED.notify_all();
    }
}
