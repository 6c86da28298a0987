//! System calls and flags by name.

use std::io::Error;

use nix::libc;

/// Makes a call.
pub(crate) fn make(name: &str, args: &[i64; 6]) -> Result<i64, Error> {
    let [a, b, c, d, e, f] = *args;
    let call = |number, args: [i64; 6]| {
        let [a, b, c, d, e, f] = args;
        // SAFETY: the table's texts live until the case ends; the other arguments are numbers.
        match unsafe { libc::syscall(number, a, b, c, d, e, f) } {
            -1 => Err(Error::last_os_error()),
            result => Ok(result),
        }
    };
    match name {
        "write" => call(libc::SYS_write, [a, b, length(b), 0, 0, 0]),
        "openat2" => {
            let how = [c, d, e];
            call(libc::SYS_openat2, [a, b, how.as_ptr() as i64, 24, 0, 0])
        }
        "poke" => poke(a, b),
        name => {
            let number =
                syscall(name).ok_or_else(|| Error::other(format!("{name} is no call that is known here")))?;
            call(number, [a, b, c, d, e, f])
        }
    }
}

fn length(text: i64) -> i64 {
    // SAFETY: a text of the table, which ends with a zero.
    unsafe { libc::strlen(text as *const libc::c_char) as i64 }
}

/// Writes a text to the begin of a file through a shared mapping.
fn poke(fd: i64, text: i64) -> Result<i64, Error> {
    let count = length(text) as usize;
    // SAFETY: a new mapping of an open file, which is at least one page's part long; the text lies outside
    // it.
    unsafe {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let map = libc::mmap(std::ptr::null_mut(), 4096, access, libc::MAP_SHARED, fd as i32, 0);
        if map == libc::MAP_FAILED {
            return Err(Error::last_os_error());
        }
        std::ptr::copy_nonoverlapping(text as *const u8, map.cast::<u8>(), count);
        libc::munmap(map, 4096);
    }
    Ok(0)
}

fn syscall(name: &str) -> Option<libc::c_long> {
    macro_rules! table {
        ($($name:ident)+) => { [$((stringify!($name), libc::$name)),+] };
    }
    let all = table! {
        SYS_chdir SYS_chroot SYS_close SYS_copy_file_range SYS_dup SYS_dup3 SYS_fchdir SYS_fchmod SYS_fchmodat
        SYS_fchmodat2 SYS_fchown SYS_fchownat SYS_fcntl SYS_ftruncate SYS_linkat SYS_mkdirat SYS_mknodat
        SYS_mmap SYS_mount SYS_openat SYS_renameat2 SYS_symlinkat SYS_truncate SYS_umount2 SYS_unlinkat
        SYS_unshare SYS_fsync SYS_sendfile
    };
    #[cfg(target_arch = "x86_64")]
    let older = table! {
        SYS_chmod SYS_chown SYS_creat SYS_dup2 SYS_lchown SYS_link SYS_mkdir SYS_mknod SYS_open SYS_rename
        SYS_renameat SYS_rmdir SYS_symlink SYS_unlink
    };
    #[cfg(not(target_arch = "x86_64"))]
    let older: [(&str, libc::c_long); 0] = [];
    let mut known = all.iter().chain(&older);
    known.find(|(known, _)| known.strip_prefix("SYS_") == Some(name)).map(|(_, number)| *number)
}

/// A number or a flag's name.
pub(crate) fn number(word: &str) -> Result<i64, String> {
    macro_rules! table {
        ($($name:ident)+) => { [$((stringify!($name), libc::$name as i64)),+] };
    }
    let flags = table! {
        O_RDONLY O_WRONLY O_RDWR O_CREAT O_EXCL O_TRUNC O_APPEND O_DIRECTORY O_NOFOLLOW O_PATH O_TMPFILE
        O_CLOEXEC AT_EMPTY_PATH AT_REMOVEDIR AT_SYMLINK_FOLLOW AT_SYMLINK_NOFOLLOW RENAME_EXCHANGE
        RENAME_NOREPLACE F_DUPFD F_DUPFD_CLOEXEC S_IFIFO S_IFREG S_IFCHR S_IFSOCK PROT_READ PROT_WRITE
        PROT_EXEC MAP_PRIVATE MAP_SHARED CLONE_NEWNS RESOLVE_IN_ROOT RESOLVE_BENEATH MS_BIND
    };
    if word == "cwd" {
        return Ok(i64::from(libc::AT_FDCWD));
    }
    if let Some((_, value)) = flags.iter().find(|(name, _)| *name == word) {
        return Ok(*value);
    }
    let parsed = match (word.strip_prefix("0x"), word.strip_prefix("0o")) {
        (Some(hex), _) => i64::from_str_radix(hex, 16),
        (_, Some(octal)) => i64::from_str_radix(octal, 8),
        _ => word.parse(),
    };
    parsed.map_err(|_| format!("{word:?} is neither a number nor a flag that is known here"))
}
