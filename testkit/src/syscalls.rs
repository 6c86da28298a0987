//! The system calls of a thread, as they are made, counted in the thread itself: no tracer, no other process.
//!
//! Linux gives a thread a signal in place of each call while its selector says so, and lets calls through
//! that are made from one range of code, which here is the signal's return (prctl(2),
//! `PR_SET_SYSCALL_USER_DISPATCH`, Linux 5.11, x86). The handler makes the call for the thread.

// A failure here is a failure of the test.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

/// Runs something, and gives the numbers of the system calls that the thread made meanwhile, in order; `None`
/// where the system cannot tell.
pub fn of<T>(work: impl FnOnce() -> T) -> Option<(T, Vec<i64>)> {
    imp::of(work)
}

/// The names of calls that are likely here.
pub fn names(calls: &[i64]) -> Vec<String> {
    use nix::libc::*;
    let known = [
        (SYS_openat, "openat"),
        #[cfg(target_arch = "x86_64")]
        (SYS_open, "open"),
        (SYS_openat2, "openat2"),
        (SYS_close, "close"),
        (SYS_statx, "statx"),
        (SYS_read, "read"),
        (SYS_pread64, "pread64"),
        (SYS_readlinkat, "readlinkat"),
        (SYS_fgetxattr, "fgetxattr"),
        (SYS_getxattr, "getxattr"),
        (SYS_getdents64, "getdents64"),
        (SYS_lseek, "lseek"),
        (SYS_mmap, "mmap"),
        (SYS_munmap, "munmap"),
        (SYS_futex, "futex"),
    ];
    let name = |call: &i64| match known.iter().find(|(number, _)| number == call) {
        Some((_, name)) => (*name).to_owned(),
        None => format!("call {call}"),
    };
    calls.iter().map(name).collect()
}

#[cfg(target_arch = "x86_64")]
mod imp {
    use nix::libc;
    use std::cell::{Cell, UnsafeCell};
    use std::sync::OnceLock;

    const PR_SET_SYSCALL_USER_DISPATCH: libc::c_int = 59;
    const ON: libc::c_ulong = 1;
    const OFF: libc::c_ulong = 0;
    const ALLOW: u8 = 0;
    const BLOCK: u8 = 1;
    const SA_RESTORER: libc::c_ulong = 0x0400_0000;
    /// Most calls kept.
    const MAX: usize = 1024;

    thread_local! {
        /// Read by the kernel.
        static SELECTOR: UnsafeCell<u8> = const { UnsafeCell::new(ALLOW) };
        static CALLS: UnsafeCell<[i64; MAX]> = const { UnsafeCell::new([0; MAX]) };
        static COUNT: Cell<usize> = const { Cell::new(0) };
    }

    // The return from the handler, from which calls are let through: the kernel looks at the address behind
    // the call.
    std::arch::global_asm!(
        ".globl drift_testkit_sigreturn",
        ".globl drift_testkit_sigreturn_end",
        "drift_testkit_sigreturn:",
        "mov eax, 15",
        "syscall",
        "nop",
        "drift_testkit_sigreturn_end:",
        "nop",
    );

    extern "C" {
        fn drift_testkit_sigreturn();
        fn drift_testkit_sigreturn_end();
    }

    /// The kernel's own `struct sigaction`: the C library's has another return.
    #[repr(C)]
    struct Action {
        handler: usize,
        flags: libc::c_ulong,
        restorer: usize,
        mask: u64,
    }

    unsafe extern "C" fn handler(_: libc::c_int, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
        let selector = SELECTOR.with(UnsafeCell::get);
        // SAFETY: the kernel's context, and this thread's own cells.
        unsafe {
            selector.write_volatile(ALLOW);
            let registers = &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs;
            let of = |register: libc::c_int| registers[register as usize];
            let number = of(libc::REG_RAX);
            let count = COUNT.get();
            if count < MAX {
                CALLS.with(|calls| (*calls.get())[count] = number);
            }
            COUNT.set(count + 1);
            let result: i64;
            std::arch::asm!(
                "syscall",
                inlateout("rax") number => result,
                in("rdi") of(libc::REG_RDI),
                in("rsi") of(libc::REG_RSI),
                in("rdx") of(libc::REG_RDX),
                in("r10") of(libc::REG_R10),
                in("r8") of(libc::REG_R8),
                in("r9") of(libc::REG_R9),
                lateout("rcx") _,
                lateout("r11") _,
            );
            registers[libc::REG_RAX as usize] = result;
            selector.write_volatile(BLOCK);
        }
    }

    fn install() -> bool {
        static DONE: OnceLock<bool> = OnceLock::new();
        *DONE.get_or_init(|| {
            let flags = (libc::SA_SIGINFO | libc::SA_NODEFER) as libc::c_ulong | SA_RESTORER;
            let action = Action {
                handler: handler as *const () as usize,
                flags,
                restorer: drift_testkit_sigreturn as *const () as usize,
                mask: 0,
            };
            let old = std::ptr::null_mut::<Action>();
            // SAFETY: the structure is the kernel's, and lives for the call.
            unsafe { libc::syscall(libc::SYS_rt_sigaction, libc::SIGSYS, &action, old, 8usize) == 0 }
        })
    }

    fn dispatch(mode: libc::c_ulong) -> bool {
        let begin = drift_testkit_sigreturn as *const () as usize;
        let length = drift_testkit_sigreturn_end as *const () as usize - begin;
        let selector = SELECTOR.with(UnsafeCell::get);
        let (begin, length, selector) = match mode {
            ON => (begin, length, selector.cast_const()),
            _ => (0, 0, std::ptr::null()),
        };
        // SAFETY: the range is code of this program, and the selector lives as long as the thread.
        unsafe { libc::prctl(PR_SET_SYSCALL_USER_DISPATCH, mode, begin, length, selector) == 0 }
    }

    pub fn of<T>(work: impl FnOnce() -> T) -> Option<(T, Vec<i64>)> {
        if !install() || !dispatch(ON) {
            return None;
        }
        let selector = SELECTOR.with(UnsafeCell::get);
        COUNT.set(0);
        // SAFETY: this thread's own cell.
        unsafe { selector.write_volatile(BLOCK) };
        let result = work();
        // SAFETY: as above.
        unsafe { selector.write_volatile(ALLOW) };
        dispatch(OFF);
        // SAFETY: as above; nothing writes to it any more.
        let calls = CALLS.with(|calls| unsafe { (&*calls.get())[..COUNT.get().min(MAX)].to_vec() });
        Some((result, calls))
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod imp {
    pub fn of<T>(_: impl FnOnce() -> T) -> Option<(T, Vec<i64>)> {
        None
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn calls_are_counted_and_made() {
        let Some((text, calls)) = super::of(|| std::fs::read_to_string("/proc/self/comm")) else {
            return crate::skip::skip("system calls", "the system cannot tell");
        };
        assert!(!text.unwrap().is_empty());
        let names = super::names(&calls);
        assert!(names.iter().any(|name| name == "read") && names.last().is_some_and(|name| name == "close"));
        assert_eq!(super::of(|| 1 + 1), Some((2, Vec::new())));
        assert!(std::fs::read("/proc/self/comm").is_ok(), "and not counted any more");
    }
}
