//! The command line: what can be asked for, and what `--help`, the man pages and the completions say of it.

use clap::builder::styling::{AnsiColor, Styles};
use clap::{Args, ColorChoice, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;
use std::ffi::OsString;
use std::path::PathBuf;

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Yellow.on_default().bold())
    .usage(AnsiColor::Yellow.on_default().bold())
    .literal(AnsiColor::Green.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

const EXIT: &str = "\
Exit status:
  0  no drift, or nothing wrong
  1  drift, or something wrong
  2  an error, or no drift found while something could not be compared";

/// Shows what in a running container is not what its image shipped or its deployment declared.
///
/// Needs no Falco and changes nothing. Run it on the node as root, or with CAP_SYS_PTRACE,
/// CAP_DAC_READ_SEARCH and CAP_SYS_ADMIN.
#[derive(Debug, Parser)]
#[command(name = "drift", version, styles = STYLES, after_help = EXIT, max_term_width = 110)]
#[command(subcommand_required = true, arg_required_else_help = true, infer_subcommands = true)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Where the host's root file system is seen [default: $HOST_ROOT, else /]
    #[arg(long, value_name = "DIR", global = true, display_order = 100)]
    #[arg(value_hint = ValueHint::DirPath)]
    pub(crate) host_root: Option<String>,
    /// When to use colours; NO_COLOR is respected
    #[arg(long, value_name = "WHEN", global = true, default_value = "auto", display_order = 101)]
    pub(crate) color: ColorChoice,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Ls(Ls),
    Diff(Diff),
    Explain(Explain),
    Triage(Triage),
    Doctor(Doctor),
    Harden(Harden),
    Manifest(Manifest),
    Lint(Lint),
    Completions(Completions),
    #[command(hide = true)]
    Man(Man),
}

/// How a report is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Text,
    /// One JSON object, in ASCII
    Json,
    /// One page that needs no network
    Html,
}

/// How a command without a page writes what it found.
#[derive(Debug, Args)]
pub(crate) struct TextOrJson {
    /// Format of the output
    #[arg(long, short, value_name = "FORMAT", default_value = "text", value_parser = ["text", "json"])]
    output: String,
    /// The same as `--output json`
    #[arg(long, conflicts_with = "output")]
    json: bool,
}

impl TextOrJson {
    /// Whether JSON was asked for, by whichever option.
    pub(crate) fn is_json(&self) -> bool {
        self.json || self.output == "json"
    }
}

/// List the running containers, those that drifted most first
///
/// Each is compared with its image and its deployment, as `drift diff` does.
#[derive(Debug, Args)]
#[command(visible_alias = "list")]
pub(crate) struct Ls {
    #[command(flatten)]
    pub(crate) format: TextOrJson,
    /// Also the containers that only hold a pod's namespaces
    #[arg(long)]
    pub(crate) all: bool,
    /// List again every so many seconds, until interrupted
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "5")]
    pub(crate) watch: Option<u64>,
}

/// Compare a running container with its image and its deployment
///
/// Lists the files, packages, ports, environments and processes that are not the image's or not declared.
/// Many changes below one directory are one line; `--full` lists each.
#[derive(Debug, Args)]
pub(crate) struct Diff {
    /// Its name, its pod as [NAMESPACE/]POD[/CONTAINER], its id, or the id of a process in it
    #[arg(value_name = "CONTAINER", required_unless_present = "all")]
    pub(crate) container: Option<String>,
    /// Compare every running container
    #[arg(long, short = 'A', conflicts_with_all = ["container", "tar", "image"])]
    pub(crate) all: bool,
    /// Format of the report
    #[arg(long, short, value_name = "FORMAT", value_enum, default_value_t)]
    pub(crate) output: Format,
    /// The same as `--output json`
    #[arg(long, conflicts_with = "output")]
    pub(crate) json: bool,
    /// List each file, also those only touched, declared ports, and processes of the image
    #[arg(long)]
    pub(crate) full: bool,
    /// Also put the changed files into a new tar archive; its first member, manifest.json, lists them
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) tar: Option<PathBuf>,
    /// Also write the report as one page that needs no network
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) html: Option<PathBuf>,
    /// Compare with this image or mtree manifest, where the container's layers cannot be seen
    #[arg(long, value_name = "FILE", value_hint = ValueHint::AnyPath)]
    pub(crate) image: Option<PathBuf>,
    /// End after this many files
    #[arg(long, value_name = "N", default_value_t = 200_000)]
    pub(crate) max_findings: u64,
}

impl Diff {
    /// The format that was asked for, by whichever option.
    pub(crate) fn format(&self) -> Format {
        if self.json {
            Format::Json
        } else {
            self.output
        }
    }
}

/// Explain alerts: what they mean, what to look at next, and what would silence exactly them
///
/// The exception names the rule, the image and the file, package or port. Where no exception should hide
/// such an alert, the reason is given instead.
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// A file of Falco's JSON, an alert a line, or - for standard input
    #[arg(value_name = "ALERTS", value_hint = ValueHint::FilePath)]
    pub(crate) alerts: PathBuf,
    #[command(flatten)]
    pub(crate) format: TextOrJson,
}

/// Group thousands of alerts, and propose the fewest exceptions for those that are expected
///
/// Groups by rule, workload, image and file, package or port. Says how many alerts each exception would have
/// hidden, and which groups no exception should hide: then the exit status is 1.
#[derive(Debug, Args)]
pub(crate) struct Triage {
    /// Files of Falco's JSON, an alert a line, or - for standard input
    #[arg(required = true, value_name = "ALERTS", value_hint = ValueHint::FilePath)]
    pub(crate) alerts: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) format: TextOrJson,
    /// Also write the exceptions as a new rules file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) exceptions: Option<PathBuf>,
}

/// Check that this node and its Falco are as Drift needs them
///
/// Each line is ok, a warning or a failure, with the fix: kernel, host root, capabilities, storage of
/// runtimes, where each container's image is read from, and Falco's plugin, order of rules and losses. The
/// exit status is 1 if anything fails.
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    #[command(flatten)]
    pub(crate) format: TextOrJson,
    /// Falco's configuration [default: of the Falco that runs, else /etc/falco/falco.yaml]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) falco_config: Option<PathBuf>,
}

/// Propose a manifest in which a container needs to write nothing to its image
///
/// From what a running container has written, or from alerts: a patch with a read-only root file system,
/// volumes with a size limit for the directories that it writes to, the image by digest, no capabilities
/// where none is held; and the lines of a Containerfile that would have made its drift part of the image.
#[derive(Debug, Args)]
pub(crate) struct Harden {
    /// A running container, named as for `drift diff`, or a file of Falco's JSON
    #[arg(value_name = "CONTAINER|ALERTS", value_hint = ValueHint::AnyPath)]
    pub(crate) subject: String,
    #[command(flatten)]
    pub(crate) format: TextOrJson,
}

/// Write an image's files as an mtree(5) manifest, for `manifests` in Drift's configuration
#[derive(Debug, Args)]
pub(crate) struct Manifest {
    /// An OCI image layout (directory), a docker-archive (.tar), or a running container
    #[arg(value_name = "IMAGE|CONTAINER", value_hint = ValueHint::AnyPath)]
    pub(crate) subject: OsString,
    /// Write a new file instead of standard output
    #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) output: Option<PathBuf>,
}

/// Check rules files for what Falco itself does not refuse
///
/// Files are taken in the order in which Falco loads them. Each problem is a line of its own.
#[derive(Debug, Default, Args)]
pub(crate) struct Lint {
    /// Rules files
    #[arg(required = true, value_name = "RULES", value_hint = ValueHint::FilePath)]
    pub(crate) files: Vec<PathBuf>,
    /// Every rule must have cases there in which it alerts and does not (rules/tests)
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) cases: Option<PathBuf>,
    /// Names of rules, macros and lists must begin with it
    #[arg(long, value_name = "NAME")]
    pub(crate) prefix: Option<String>,
}

/// Print a shell's completions
///
/// bash: drift completions bash > /usr/share/bash-completion/completions/drift
/// zsh: drift completions zsh > "${fpath[1]}/_drift"
/// fish: drift completions fish > ~/.config/fish/completions/drift.fish
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Completions {
    /// Which shell
    pub(crate) shell: Shell,
}

/// Write the man pages into a directory
#[derive(Debug, Args)]
pub(crate) struct Man {
    /// Where to
    #[arg(value_hint = ValueHint::DirPath)]
    pub(crate) directory: PathBuf,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn arguments_are_taken_or_refused() {
        let parsed = |arguments: &[&str]| {
            let arguments = ["drift"].iter().chain(arguments);
            Arguments::try_parse_from(arguments).map(|a| a.command).map_err(|e| e.to_string())
        };
        let Ok(Command::Diff(diff)) = parsed(&["diff", "--json", "--tar", "x.tar", "abc"]) else { panic!() };
        assert_eq!((diff.format(), diff.max_findings), (Format::Json, 200_000));
        assert!(
            matches!(parsed(&["manifest", "-o", "x", "abc"]), Ok(Command::Manifest(m)) if m.output.is_some())
        );
        for (arguments, why) in [
            (&["lint"][..], "required"),
            (&["diff"], "required"),
            (&["diff", "--json", "--output", "html", "a"], "cannot be used with"),
            (&["diff", "--output", "pdf", "a"], "possible values: text, json, html"),
            (&["diff", "--max-findings", "x", "a"], "invalid digit"),
            (&["manifest", "--json", "a"], "unexpected argument"),
            (&["undo", "a"], "unrecognized subcommand"),
        ] {
            let said = parsed(arguments).unwrap_err();
            assert!(said.contains(why), "{arguments:?}: {said}");
        }
    }
}
