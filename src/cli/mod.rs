//! `kubectl tidegate`: what is happening, why, and what people say about it.
//!
//! Uses the Kubernetes API with the rights of whoever runs it; [`backtest`] a Prometheus server too. Rendering is pure and lives in [`status`], [`why`],
//! [`steps`] and [`undo`]; [`terminal`] alone knows the machine, [`connect`] alone the way to the API server. Nothing here
//! decides: what is shown is what status says, and in [`backtest`] what the judge would have said.

pub mod act;
pub mod backtest;
mod breach;
pub mod connect;
pub mod follow;
pub mod hand_back;
pub mod judge;
pub mod lint;
pub mod report;
mod show;
pub mod status;
pub mod steps;
pub mod terminal;
pub mod undo;
pub mod view;
pub mod why;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::{Args, ColorChoice, Parser, Subcommand};

use self::act::{Passing, Saying};
use self::connect::{Cluster, Target};
use self::show::Show;
use self::view::plain;
use crate::api::Action;
use crate::api::text::Span;

/// Progressive delivery of Deployments: what is happening, why, and what unblocks it
#[derive(Parser, Debug)]
#[command(name = "kubectl-tidegate", bin_name = "kubectl tidegate", version, max_term_width = 100, after_help = EXIT_CODES)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    target: Target,
    /// Colours
    #[arg(long, global = true, default_value = "auto", value_name = "WHEN")]
    color: ColorChoice,
}

const EXIT_CODES: &str = "Exit codes:
    0  done; with --until-done: the run Succeeded
    1  refused; with --until-done: the run ended otherwise (Undone, Aborted, Superseded, HandedBack);
       backtest: more false undos than --max-false-undos; report --verify: the chain is broken;
       lint: there are errors
    2  wrong usage, or it could not be done
  130  interrupted";

#[derive(Subcommand, Debug)]
enum Command {
    /// Where releases stand: a table, or a view of one
    #[command(visible_alias = "st", after_help = EXIT_CODES)]
    Status(Show),
    /// What is happening and why, in sentences, with the evidence and who said what
    Why {
        /// Release; default: all that are not Idle
        name: Option<String>,
    },
    /// The record of a run, as a document or as it is; with --verify whether all records are what was written
    #[command(after_help = EXIT_CODES)]
    Report(report::Flags),
    /// Sign an approval in a role
    Approve {
        #[command(flatten)]
        said: Said,
        /// Role to sign as; asked for when it is left out, never guessed
        #[arg(long)]
        role: Option<String>,
        /// Agree to the undo that status asks about
        #[arg(long)]
        undo: bool,
        #[command(flatten)]
        reason: Reason,
    },
    /// Refuse an approval in a role: the run goes back
    Reject {
        #[command(flatten)]
        said: Said,
        /// Role to sign as
        #[arg(long)]
        role: Option<String>,
        /// Refuse the undo that status asks about: the run stands still
        #[arg(long)]
        undo: bool,
        #[command(flatten)]
        reason: NeededReason,
    },
    /// Say in a role that what a check asks for is so
    Attest {
        #[command(flatten)]
        said: Said,
        /// The check
        #[arg(long)]
        check: String,
        /// Role to attest it as; asked for when it is left out, never guessed
        #[arg(long)]
        role: Option<String>,
        #[command(flatten)]
        reason: NeededReason,
    },
    /// Go back to stable now
    Abort {
        #[command(flatten)]
        said: Said,
        #[command(flatten)]
        reason: NeededReason,
    },
    /// Stand still
    Pause {
        #[command(flatten)]
        said: Said,
        #[command(flatten)]
        reason: Reason,
    },
    /// End a pause, or take up a Deployment again that was handed back
    Resume {
        #[command(flatten)]
        said: Said,
        #[command(flatten)]
        reason: Reason,
    },
    /// Try failed checks again, or the rejected template
    Retry {
        #[command(flatten)]
        said: Said,
        #[command(flatten)]
        reason: Reason,
    },
    /// Count what is waited for (checks, a soak, the watch, a window) as done
    Skip {
        #[command(flatten)]
        said: Said,
        #[command(flatten)]
        reason: NeededReason,
    },
    /// Let the run that is under way pass a freeze
    PassFreeze {
        #[command(flatten)]
        said: Said,
        /// The Freeze
        #[arg(long)]
        freeze: String,
        /// On which of its grounds
        #[arg(long)]
        ground: String,
        #[command(flatten)]
        reason: NeededReason,
    },
    /// Say that you know of a hold: the escalation of spec.notify stops until its reason changes
    #[command(visible_alias = "ack")]
    Acknowledge {
        #[command(flatten)]
        said: Said,
        #[command(flatten)]
        reason: Reason,
    },
    /// Forget a rejection
    ClearRejection {
        #[command(flatten)]
        said: Said,
        #[command(flatten)]
        reason: NeededReason,
    },
    /// Give the Deployment back to its owner as it is; the native controller completes what is in it
    HandBack {
        #[command(flatten)]
        said: Said,
        /// Why: at least 3 characters
        #[arg(long, required_unless_present = "without_operator")]
        reason: Option<String>,
        /// Do it from here, with your own rights: for when the operator is gone
        #[arg(long)]
        without_operator: bool,
    },
    /// Would the criteria have undone good releases in the last days, and let bad ones through? Asks Prometheus, changes nothing
    #[command(after_help = EXIT_CODES)]
    Backtest(Box<backtest::Flags>),
    /// What is wrong with Releases in files: contradictions, placeholders, fields that are none; no cluster is asked
    #[command(after_help = EXIT_CODES)]
    Lint(lint::Flags),
    /// What the judge says of slots in a file, one JSON line a slot; no cluster is asked
    Judge(judge::Files),
    /// The version of this program
    Version,
}

#[derive(Args, Debug)]
struct Said {
    /// Release
    name: String,
    /// How long to wait for what comes of it
    #[arg(long, default_value = "10s", value_name = "TIME", value_parser = span)]
    wait: Duration,
    /// Do not wait for what comes of it
    #[arg(long, conflicts_with = "wait")]
    no_wait: bool,
}

#[derive(Args, Debug)]
struct Reason {
    /// Why
    #[arg(long)]
    reason: Option<String>,
}

#[derive(Args, Debug)]
struct NeededReason {
    /// Why: at least 3 characters
    #[arg(long)]
    reason: String,
}

fn span(text: &str) -> Result<Duration, String> {
    Span(text.to_owned()).parse().ok_or_else(|| "write 90s, 15m or 1h30m".to_owned())
}

/// How it ended, for whoever called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// Done.
    Yes,
    /// The answer is no: refused, undone.
    No,
    /// Ctrl-C.
    Interrupted,
}

/// Runs the command line. Needs a default rustls provider to be installed.
pub async fn run() -> ExitCode {
    let arguments = Arguments::parse();
    match arguments.color {
        ColorChoice::Auto => anstream::ColorChoice::Auto,
        ColorChoice::Always => anstream::ColorChoice::Always,
        ColorChoice::Never => anstream::ColorChoice::Never,
    }
    .write_global();
    match dispatch(arguments).await {
        Ok(Code::Yes) => ExitCode::SUCCESS,
        Ok(Code::No) => ExitCode::from(1),
        Ok(Code::Interrupted) => ExitCode::from(130),
        Err(error) => {
            terminal::complain(&plain(&format!("error: {error:#}")));
            ExitCode::from(2)
        }
    }
}

async fn dispatch(Arguments { command, target, color: _ }: Arguments) -> Result<Code> {
    let saying = match command {
        Command::Version => {
            terminal::print(concat!("kubectl-tidegate ", env!("CARGO_PKG_VERSION"), "\n"));
            return Ok(Code::Yes);
        }
        Command::Backtest(flags) => return backtest::backtest(&flags, &target).await,
        Command::Lint(flags) => return lint::run(&flags),
        Command::Judge(files) => return judge::judge(&files),
        Command::Status(show) => return show::status(&Cluster::connect(&target).await?, show).await,
        Command::Report(flags) => return report::report(&Cluster::connect(&target).await?, &flags).await,
        Command::Why { name } => return show::why(&Cluster::connect(&target).await?, name.as_deref()).await,
        Command::HandBack { said, reason, without_operator: true } => {
            let cluster = Cluster::connect(&target).await?;
            return hand_back::without_operator(&cluster, &said.name, reason.as_deref()).await;
        }
        Command::HandBack { said, reason, without_operator: false } => {
            saying(Action::HandBack, said, None, reason)
        }
        Command::Approve { said, role, undo, reason } => {
            Saying { undo, ..saying(Action::Approve, said, role, reason.reason) }
        }
        Command::Reject { said, role, undo, reason } => {
            Saying { undo, ..saying(Action::Reject, said, role, Some(reason.reason)) }
        }
        Command::Attest { said, check, role, reason } => {
            Saying { check: Some(check), ..saying(Action::Attest, said, role, Some(reason.reason)) }
        }
        Command::Abort { said, reason } => saying(Action::Abort, said, None, Some(reason.reason)),
        Command::Pause { said, reason } => saying(Action::Pause, said, None, reason.reason),
        Command::Resume { said, reason } => saying(Action::Resume, said, None, reason.reason),
        Command::Retry { said, reason } => saying(Action::Retry, said, None, reason.reason),
        Command::Skip { said, reason } => saying(Action::Skip, said, None, Some(reason.reason)),
        Command::PassFreeze { said, freeze, ground, reason } => {
            let pass = Some(Passing { freeze, ground });
            Saying { pass, ..saying(Action::PassFreeze, said, None, Some(reason.reason)) }
        }
        Command::Acknowledge { said, reason } => saying(Action::Acknowledge, said, None, reason.reason),
        Command::ClearRejection { said, reason } => {
            saying(Action::ClearRejection, said, None, Some(reason.reason))
        }
    };
    act::say(&Cluster::connect(&target).await?, &saying).await
}

fn saying(action: Action, said: Said, role: Option<String>, reason: Option<String>) -> Saying {
    let wait = (!said.no_wait).then_some(said.wait);
    Saying { action, release: said.name, role, check: None, undo: false, pass: None, reason, wait }
}
