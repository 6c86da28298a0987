//! Small packages made on the spot: what package managers install in tests, without a network.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::run::output;

/// A Debian package to be made.
#[derive(Debug, Clone, Default)]
pub struct Deb<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its version.
    pub version: &'a str,
    /// What it depends on, as in the field.
    pub depends: &'a str,
    /// Its files: path without the first slash, mode, content.
    pub files: &'a [(&'a str, u32, &'a str)],
    /// Its `postinst`; none if empty.
    pub postinst: &'a str,
}

fn put(root: &Path, path: &str, mode: u32, content: &str) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let file = root.join(path);
    if let Some(dir) = file.parent() {
        std::fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
    }
    std::fs::write(&file, content).with_context(|| format!("writing {}", file.display()))?;
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).context("setting a file's mode")
}

/// Makes a `.deb` at `path`.
///
/// # Errors
/// dpkg-deb fails.
pub fn deb(path: &Path, deb: &Deb<'_>) -> Result<()> {
    let work = tempfile::tempdir().context("making a directory")?;
    let root = work.path();
    let Deb { name, version, depends, .. } = deb;
    let depends = if depends.is_empty() { String::new() } else { format!("Depends: {depends}\n") };
    let control = format!(
        "Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: none <none@localhost>\n\
         {depends}Description: a test\n"
    );
    put(root, "DEBIAN/control", 0o644, &control)?;
    if !deb.postinst.is_empty() {
        put(root, "DEBIAN/postinst", 0o755, deb.postinst)?;
    }
    for (file, mode, content) in deb.files {
        put(root, file, *mode, content)?;
    }
    let mut command = Command::new("dpkg-deb");
    command.args(["-Znone", "--root-owner-group", "--build"]).arg(root).arg(path);
    output(&mut command).map(drop)
}

/// Writes the index `Packages` of the packages in a directory, as apt wants it of a local repository.
///
/// # Errors
/// dpkg-deb or sha256sum fails.
pub fn apt_index(dir: &Path) -> Result<()> {
    let mut index = String::new();
    let mut names: Vec<_> = std::fs::read_dir(dir)?.flatten().map(|entry| entry.path()).collect();
    names.sort();
    for path in names.iter().filter(|path| path.extension().is_some_and(|ext| ext == "deb")) {
        let control = output(Command::new("dpkg-deb").arg("-f").arg(path))?;
        let sum = output(Command::new("sha256sum").arg(path))?;
        let sum = sum.split_whitespace().next().unwrap_or_default();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let size = path.metadata()?.len();
        index.push_str(&format!("{control}\nFilename: ./{name}\nSize: {size}\nSHA256: {sum}\n\n"));
    }
    std::fs::write(dir.join("Packages"), index).context("writing an index")
}

/// Makes a wheel at `path`, whose name tells what it is: `six-1.17.0-py2.py3-none-any.whl`. It has one module
/// of its name.
///
/// # Errors
/// The name is none of a wheel, or the file cannot be written.
pub fn wheel(path: &Path, requires: &[&str]) -> Result<()> {
    let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut parts = file.split('-');
    let (name, version) =
        (parts.next().context("a wheel's name")?, parts.next().context("a wheel's version")?);
    let info = format!("{name}-{version}.dist-info");
    let requires: String = requires.iter().map(|name| format!("Requires-Dist: {name}\n")).collect();
    let module = format!("{name}/__init__.py");
    let script = format!("#!python\nprint({version:?})\n");
    let files = [
        (module.clone(), format!("__version__ = {version:?}\n")),
        (format!("{name}-{version}.data/scripts/{name}-tool"), script),
        (
            format!("{info}/METADATA"),
            format!("Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requires}"),
        ),
        (
            format!("{info}/WHEEL"),
            "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\n\
            Tag: py2-none-any\nTag: py3-none-any\n"
                .into(),
        ),
    ];
    let record: String = files.iter().map(|(path, _)| format!("{path},,\n")).collect();
    let record = (format!("{info}/RECORD"), format!("{record}{info}/RECORD,,\n"));
    let files: Vec<(String, String)> = files.into_iter().chain([record]).collect();
    std::fs::write(path, zip(&files)).with_context(|| format!("writing {}", path.display()))
}

/// Makes npm's tarball of a package at `path`.
///
/// # Errors
/// tar fails.
pub fn npm_tarball(path: &Path, name: &str, version: &str, postinstall: &str) -> Result<()> {
    let work = tempfile::tempdir().context("making a directory")?;
    let described = serde_json::json!({
        "name": name, "version": version, "main": "index.js", "bin": {name: "cli.js"},
        "scripts": {"postinstall": postinstall},
    });
    put(work.path(), "package/package.json", 0o644, &described.to_string())?;
    put(work.path(), "package/index.js", 0o644, "module.exports = 1;\n")?;
    put(work.path(), "package/cli.js", 0o755, "#!/usr/bin/env node\nconsole.log(1);\n")?;
    tar(path, work.path(), &["-czf"], &["package"])
}

/// Makes a gem at `path`.
///
/// # Errors
/// tar or gzip fails.
pub fn gem(path: &Path, name: &str, version: &str) -> Result<()> {
    let work = tempfile::tempdir().context("making a directory")?;
    let root = work.path();
    put(root, &format!("data/lib/{name}.rb"), 0o644, "X = 1\n")?;
    let data = format!("lib/{name}.rb");
    tar(&root.join("data.tar.gz"), &root.join("data"), &["-czf"], &[data.as_str()])?;
    let metadata = format!(
        "--- !ruby/object:Gem::Specification\nname: {name}\n\
         version: !ruby/object:Gem::Version\n  version: '{version}'\n\
         platform: ruby\nauthors:\n- none\nbindir: bin\ndate: 2024-01-01 00:00:00.000000000 Z\n\
         dependencies: []\n\
         description: a test\nexecutables: []\nextensions: []\nextra_rdoc_files: []\nfiles:\n- {data}\n\
         homepage: http://localhost/\nlicenses: []\nmetadata: {{}}\nrdoc_options: []\nrequire_paths:\n- lib\n\
         required_ruby_version: !ruby/object:Gem::Requirement\n  requirements:\n  - - \">=\"\n    - \
         !ruby/object:Gem::Version\n      version: '0'\n\
         required_rubygems_version: !ruby/object:Gem::Requirement\n  requirements:\n  - - \">=\"\n    - \
         !ruby/object:Gem::Version\n      version: '0'\n\
         requirements: []\nrubygems_version: 3.3.15\nspecification_version: 4\nsummary: a test\n\
         test_files: []\n"
    );
    put(root, "metadata", 0o644, &metadata)?;
    output(Command::new("gzip").arg("-n").arg(root.join("metadata")))?;
    tar(path, root, &["-cf"], &["metadata.gz", "data.tar.gz"])
}

fn tar(to: &Path, dir: &Path, how: &[&str], what: &[&str]) -> Result<()> {
    let mut command = Command::new("tar");
    command
        .args(["--owner=0", "--group=0", "--format=ustar"])
        .args(how)
        .arg(to)
        .arg("-C")
        .arg(dir)
        .args(what);
    output(&mut command).map(drop)
}

/// A zip archive of files that are not compressed (PKWARE's APPNOTE, 4.3).
fn zip(files: &[(String, String)]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in files {
        let offset = out.len() as u32;
        // Version, flags, method, time, date (1980-01-01).
        let mut fields = vec![20, 0, 0, 0, 0, 0, 0, 0, 0x21, 0];
        fields.extend(crc32(content.as_bytes()).to_le_bytes());
        fields.extend((content.len() as u32).to_le_bytes());
        fields.extend((content.len() as u32).to_le_bytes());
        fields.extend((name.len() as u16).to_le_bytes());
        fields.extend([0, 0]); // extra
        out.extend(b"PK\x03\x04");
        out.extend(&fields);
        out.extend(name.as_bytes());
        out.extend(content.as_bytes());
        directory.extend(b"PK\x01\x02");
        directory.extend([20, 3]); // made by: Unix
        directory.extend(&fields);
        directory.extend([0; 6]); // comment, disk, internal attributes
        directory.extend((0o100_644u32 << 16).to_le_bytes());
        directory.extend(offset.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let (at, count) = (out.len() as u32, files.len() as u16);
    out.extend(&directory);
    out.extend(b"PK\x05\x06\0\0\0\0");
    out.extend(count.to_le_bytes());
    out.extend(count.to_le_bytes());
    out.extend((directory.len() as u32).to_le_bytes());
    out.extend(at.to_le_bytes());
    out.extend([0, 0]);
    out
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & 0u32.wrapping_sub(crc & 1)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_zip() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }
}
