// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The `vpc` program: parse, call, print what went wrong, exit.

use clap::Parser;
use std::process::ExitCode;
use virtualpc::cli::Cli;

fn main() -> ExitCode {
    env_logger::Builder::from_env(env_logger::Env::new().filter_or("VPC_LOG", "warn"))
        .format_target(false)
        .format_timestamp(None)
        .init();
    match Cli::parse().run() {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprint!("{}", error.report());
            ExitCode::from(error.exit_code())
        }
    }
}
