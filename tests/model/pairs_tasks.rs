// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Results of tasks.

use super::{Lab, pairs, support};
use virtualpc::virtual_pc::enums::TaskResult;
use virtualpc::virtual_pc::hresult;
use virtualpc::virtual_pc::vmc::Value;

#[test]
fn a_task_and_its_record() {
    let lab = Lab::new();
    let machine = lab.guest("m", &support::loader("ending-idle.img"));
    lab.start(&machine);
    // Nobody answers the power button: it goes on until the machine is turned off.
    let task = machine.shutdown().unwrap();
    assert!(!task.is_complete() && task.percent_completed() < 100);
    let tasks = lab.app.tasks();
    pairs!(S_OK:
        "IVMTask::ID" => Ok(task.id()),
        "IVMTask::Description" => Ok(assert_eq!(task.description(), "shut down m")),
        "IVMTask::IsComplete" => Ok(task.is_complete()),
        "IVMTask::IsCancelable" => Ok(assert!(task.is_cancelable())),
        "IVMTask::PercentCompleted" => Ok(task.percent_completed()),
        "IVMTask::Result" => Ok(task.result()),
        "IVMTask::Error" => Ok(assert_eq!(task.error(), hresult::S_OK)),
        "IVMTask::ErrorDescription" => Ok(assert_eq!(task.error_description(), "")),
        "IVMTask::WaitForCompletion" => task.wait_for_completion(0),
        "IVMTask::Cancel" => task.cancel(),
        "IVMTaskCollection::Count" => Ok(assert_eq!(tasks.count(), 1)),
        "IVMTaskCollection::Item" => tasks.item(1).map(|item| assert_eq!(item.id(), task.id())),
        "IVMTaskCollection::_NewEnum" => Ok(tasks.iter().count()),
    );
    pairs!(DISP_E_BADINDEX: "IVMTaskCollection::Item" => tasks.item(2));
    pairs!(E_INVALIDARG:
        "IVMTask::WaitForCompletion" => task.wait_for_completion(-2),
        "IVMTask::WaitForCompletion" => task.wait_for_completion(4_000_001),
    );
    // It is not waited for any more, and goes on.
    task.wait_for_completion(-1).unwrap();
    assert_eq!(
        (task.percent_completed(), task.result()),
        (100, TaskResult::Cancelled)
    );
    pairs!(E_FAIL: "IVMTask::Cancel" => task.cancel());
    let off = machine.turn_off().unwrap();
    assert!(!off.is_cancelable());
    pairs!(E_FAIL: "IVMTask::Cancel" => off.cancel());
    off.finish().unwrap();
    let records: Vec<_> = lab.app.task_records().into_iter().collect();
    let descriptions: Vec<_> = records.iter().map(|record| &*record.description).collect();
    assert_eq!(descriptions, ["start m", "shut down m", "turn off m"]);
    let results: Vec<_> = records.iter().filter_map(|record| record.result).collect();
    let (well, cancelled) = (TaskResult::Success, TaskResult::Cancelled);
    assert_eq!(results, [well, cancelled, well], "{records:?}");
}

#[test]
fn a_start_that_fails_says_why_by_its_task() {
    let lab = Lab::new();
    let machine = lab.machine("m");
    let missing = Value::String(lab.text("none.rom"));
    machine
        .set_configuration_value("virtualpc/firmware", &missing)
        .unwrap();
    let _undisturbed = support::alone();
    let task = machine.startup().unwrap();
    let error = task.finish().unwrap_err();
    assert!(error.cause().contains("none.rom"), "{error}");
    assert_eq!(task.error(), hresult::ERROR_FILE_NOT_FOUND);
    assert_eq!(task.result(), TaskResult::UnexpectedError);
    assert_eq!(
        machine.state().unwrap().to_string(),
        "turned-off",
        "nothing stays behind"
    );
}
