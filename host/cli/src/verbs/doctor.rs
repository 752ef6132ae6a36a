//! `symphony doctor`: what is wrong, or will be after one more failure, and what to do about it.

use symphony_api::Client;

use crate::doctor::{self, Finding, Level};
use crate::failure::Failure;
use crate::output::Output;
use crate::refusal::failure;

/// Examples and what it looks at.
pub(crate) const HELP: &str = "\
Examples:
  symphony doctor
  symphony doctor -o json
  symphony --socket DIR/control.sock doctor     # the store and the managers alone

It looks at the store's members (reached, majority, room, alarms, versions), managers, nodes and plugins. Exit code 1:
something does not work now.";

/// Does it. Over a control socket there are no nodes and no plugins to be seen.
pub(crate) async fn run(client: &Client, output: Output, over_the_api: bool) -> Result<(), Failure> {
    let store = client
        .store()
        .await
        .map_err(|error| failure("look at the store", error))?;
    let mut found = doctor::of_the_store(&store);
    let mut looked = vec![count(
        store.members.len(),
        "member of the store",
        "members of the store",
    )];
    // Without the store nothing else can be asked; the store is the finding then.
    if store.trouble.is_none() {
        let services = client.services().await;
        let services = services.map_err(|error| failure("list the services", error))?.items;
        let managers = services.iter().filter(|service| service.role == "manager").count();
        looked.push(count(managers, "manager", "managers"));
        found.extend(doctor::of_services(&services));
        if over_the_api {
            let nodes = client.all_nodes(None).await;
            let nodes = nodes.map_err(|error| failure("list the nodes", error))?;
            looked.push(count(nodes.len(), "node", "nodes"));
            found.extend(doctor::of_nodes(&nodes));
            let slots = client.slots().await;
            let slots = slots.map_err(|error| failure("list the slots", error))?.items;
            looked.push(count(slots.len(), "slot of plugins", "slots of plugins"));
            found.extend(doctor::of_slots(&slots));
        }
    }
    found.sort_by_key(|finding| finding.level);
    tell(output, &found, &looked.join(", "))
}

fn tell(output: Output, found: &[Finding], looked: &str) -> Result<(), Failure> {
    if found.is_empty() {
        output.remark(&format!("nothing is wrong with {looked}"));
    }
    if !found.is_empty() || output.is_for_machines() {
        output.list(found)?;
    }
    let errors = found.iter().filter(|finding| finding.level == Level::Error).count();
    if errors == 0 {
        return Ok(());
    }
    Err(Failure::new(format!(
        "{} found among {looked}",
        count(errors, "error", "errors")
    )))
}

fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}
