// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `vpc host`: what this host can do.

use super::{Error, exit};
use crate::hypervisor::{self, Unavailable};
use crate::virtual_pc::hresult::HResult;
use serde::Serialize;

/// Says whether and how this host can run machines.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    available: bool,
    /// Ordinary 64-bit kernels run, not only firmware and small guests.
    ordinary_kernels: bool,
    hypervisor: Option<String>,
    processor: &'static str,
    max_vcpus: Option<usize>,
    capabilities: Vec<Capability>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<ResultCode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
    exit_code: u8,
}

#[derive(Serialize)]
struct Capability {
    name: &'static str,
    present: bool,
}

#[derive(Serialize)]
struct ResultCode {
    name: &'static str,
    code: String,
}

impl Args {
    /// Runs the command.
    pub fn run(&self) -> Result<u8, Error> {
        let report = look();
        if self.json {
            super::print_json(&report)?;
        } else {
            print(&report);
        }
        Ok(report.exit_code)
    }
}

fn look() -> Report {
    let survey = hypervisor::survey();
    let mut report = Report {
        available: survey.hypervisor.is_ok(),
        ordinary_kernels: false,
        hypervisor: None,
        processor: survey.processor,
        max_vcpus: None,
        capabilities: Vec::new(),
        result: None,
        cause: None,
        remedy: None,
        exit_code: exit::DONE,
    };
    match &survey.hypervisor {
        Ok(hypervisor) => {
            report.hypervisor = Some(hypervisor.describe());
            report.max_vcpus = Some(hypervisor.max_vcpus());
            report.capabilities = survey
                .capabilities
                .into_iter()
                .map(|(name, present)| Capability { name, present })
                .collect();
            report.ordinary_kernels = survey.limit.is_none();
            if let Some(limit) = survey.limit {
                report.cause = Some(limit.to_owned());
                report.remedy =
                    Some("use a host with VT-x or AMD-V for ordinary operating systems".to_owned());
                report.exit_code = exit::SOFTWARE_KVM;
            }
        }
        Err(cause) => explain(&mut report, cause),
    }
    report
}

fn explain(report: &mut Report, cause: &Unavailable) {
    let result = HResult::from(cause);
    report.result = Some(ResultCode {
        name: result.name,
        code: format!("0x{:08X}", result.code),
    });
    report.cause = Some(cause.to_string());
    report.remedy = Some(cause.remedy());
    report.exit_code = exit::unavailable(cause);
}

fn print(report: &Report) {
    let yes = |yes: bool| if yes { "yes" } else { "no" };
    println!("machines can run    {}", yes(report.available));
    println!("ordinary kernels    {}", yes(report.ordinary_kernels));
    println!("processor           {}", report.processor);
    if let Some(hypervisor) = &report.hypervisor {
        println!("hypervisor          {hypervisor}");
    }
    if let Some(most) = report.max_vcpus {
        println!("most processors     {most} (a machine has 1 to 8)");
    }
    for capability in &report.capabilities {
        println!("{:<19} {}", capability.name, yes(capability.present));
    }
    if let Some(result) = &report.result {
        println!("result              {} ({})", result.name, result.code);
    }
    if let Some(cause) = &report.cause {
        println!("cause               {cause}");
    }
    if let Some(remedy) = &report.remedy {
        println!("remedy              {remedy}");
    }
}
