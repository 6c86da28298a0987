//! Keeps `libgcc_s.so.1` out of what the plugin needs at run time.
//!
//! rustc asks the linker for `-lgcc_s`, the shared unwinder; Falco's image need not have it. The same code is
//! in `libgcc_eh.a` of every gcc. A linker script named `libgcc_s.so`, found before the real one, puts it in
//! instead. Where there is no such archive nothing changes. Builds with zig bring their own unwinder and
//! never look here.

use std::io::Write;
use std::path::Path;
use std::process::Command;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut cargo = std::io::stdout();
    writeln!(cargo, "cargo:rerun-if-changed=build.rs")?;
    writeln!(cargo, "cargo:rerun-if-env-changed=RUSTC_LINKER")?;
    let var = |name: &str| std::env::var(name).unwrap_or_default();
    let native = var("HOST") == var("TARGET");
    if !native || var("CARGO_CFG_TARGET_OS") != "linux" || var("CARGO_CFG_TARGET_ENV") != "gnu" {
        return Ok(());
    }
    let linker = std::env::var("RUSTC_LINKER").unwrap_or_else(|_| "cc".into());
    // gcc and clang print the name as it was given where they do not have the file.
    let Ok(found) = Command::new(linker).arg("-print-file-name=libgcc_eh.a").output() else { return Ok(()) };
    let archive = String::from_utf8_lossy(&found.stdout).trim().to_owned();
    if !found.status.success() || !Path::new(&archive).is_absolute() || !Path::new(&archive).is_file() {
        return Ok(());
    }
    let out = var("OUT_DIR");
    std::fs::write(Path::new(&out).join("libgcc_s.so"), "/* GNU ld script */\nINPUT ( -lgcc_eh )\n")?;
    writeln!(cargo, "cargo:rustc-link-search=native={out}")?;
    Ok(())
}
