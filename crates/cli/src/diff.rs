//! `drift diff`: containers against their images and their deployments.

use crate::arguments::{Diff, Format, Global};
use crate::containers::{Node, Target};
use crate::report::{self, compare, Report};
use crate::{archive, html, json, output, style};
use anyhow::{anyhow, bail, Context, Result};
use drift_core::image::view::Image;
use drift_core::scan::{FileScan, Limits};
use std::path::Path;

/// Compares, and prints; `true` when there is drift.
pub(crate) fn run(global: &Global, options: &Diff) -> Result<bool> {
    let image = options.image.as_deref().map(load).transpose()?;
    let mut node = Node::open(global, image.as_ref())?;
    match &options.container {
        Some(name) => one(&node.find(name)?, image, options),
        None => all(&mut node, options),
    }
}

fn one(target: &Target, image: Option<Image>, options: &Diff) -> Result<bool> {
    let limits = Limits { max_findings: options.max_findings, ..Limits::default() };
    let scan = report::open(target, image.zip(options.image.as_deref()), limits)?;
    let report = compared(target, &scan);
    let format = options.format();
    let digests = match format == Format::Json || options.tar.is_some() {
        true => output::digests(&report, &scan, limits.max_file),
        false => Vec::new(),
    };
    if let Some(path) = &options.tar {
        archive::write(path, &report, &scan, &digests, limits.max_file)
            .with_context(|| format!("writing {}", path.display()))?;
    }
    if let Some(path) = &options.html {
        write_new(path, &html::page(&[html::Part::new(target, &report, &scan)]))?;
    }
    match format {
        Format::Json => json::print(&report, options.full, &digests)?,
        Format::Text => output::text(&report, options.full)?,
        Format::Html => print_page(&html::page(&[html::Part::new(target, &report, &scan)]))?,
    }
    match (report.is_drift(), report.gaps()) {
        (true, _) => Ok(true),
        (false, gaps) if gaps.is_empty() => Ok(false),
        (false, gaps) => Err(anyhow!("no drift found, but not everything was compared: {}", gaps.join("; "))),
    }
}

/// Every container, one after the other; those that cannot be compared are named at the end.
fn all(node: &mut Node, options: &Diff) -> Result<bool> {
    let limits = Limits { max_findings: options.max_findings, ..Limits::default() };
    let (mut drift, mut failed, mut parts, mut objects) = (false, Vec::new(), Vec::new(), Vec::new());
    let format = options.format();
    for running in node.running() {
        let id = running.id.clone();
        let looked = node.look_at(running);
        let opened = looked.and_then(|target| Ok((report::open(&target, None, limits)?, target)));
        let (scan, target) = match opened {
            Ok(opened) => opened,
            Err(why) => {
                failed.push(format!("{id}: {why:#}"));
                continue;
            }
        };
        let report = compared(&target, &scan);
        drift |= report.is_drift();
        failed.extend(report.gaps().first().map(|gap| format!("{}: {gap}", report.title)));
        if options.html.is_some() || format == Format::Html {
            parts.push(html::Part::new(&target, &report, &scan));
        }
        match format {
            Format::Json => {
                let digests = output::digests(&report, &scan, limits.max_file);
                objects.push(json::value(&report, options.full, &digests));
            }
            Format::Text => {
                output::text(&report, options.full)?;
                println(&"-".repeat(80))?;
            }
            Format::Html => {}
        }
    }
    if let Some(path) = &options.html {
        write_new(path, &html::page(&parts))?;
    }
    match format {
        Format::Json => json::write(&objects.into())?,
        Format::Html => print_page(&html::page(&parts))?,
        Format::Text => {}
    }
    if !drift && !failed.is_empty() {
        bail!("no drift found, but not everything was compared: {}", failed.join("; "));
    }
    Ok(drift)
}

fn println(text: &str) -> Result<()> {
    use std::io::Write;
    Ok(writeln!(anstream::stdout(), "{text}")?)
}

fn print_page(page: &str) -> Result<()> {
    use std::io::Write;
    Ok(std::io::stdout().write_all(page.as_bytes())?)
}

/// Writes a new file; one that exists is not written over.
fn write_new(path: &Path, text: &str) -> Result<()> {
    use std::io::Write;
    let file = std::fs::File::create_new(path);
    let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
    written.with_context(|| format!("writing {}", path.display()))
}

/// The report of one container, with progress shown.
fn compared(target: &Target, scan: &FileScan) -> Report {
    let progress = style::progress(&format!("comparing {}", target.title()));
    let report = compare(target, scan, true, &mut || {
        progress.inc(1);
        true
    });
    progress.finish_and_clear();
    report
}

fn load(path: &Path) -> Result<Image> {
    let loaded = drift_core::image::load::load(path, &drift_formats::limits::Limits::default());
    let (image, _) = loaded.with_context(|| format!("reading {}", path.display()))?;
    Ok(image)
}
