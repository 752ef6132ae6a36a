//! The binary as people and scripts use it: `symphony dev` with real agents, and every verb against it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "cli/cloud.rs"]
mod cloud;

use std::io::BufRead as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use cloud::{Cloud, Ran, command, eventually, is_agent, need_agent};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

const IMAGE_BYTES: usize = 1 << 20;

/// A raw disk image with something in it and holes.
fn image(folder: &Path) -> PathBuf {
    let mut bytes = vec![0_u8; IMAGE_BYTES];
    for (n, byte) in bytes[..100_000].iter_mut().enumerate() {
        *byte = (n % 251) as u8;
    }
    bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
    let path = folder.join("tiny.raw");
    std::fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn one_cloud_from_start_to_end() {
    let home = tempfile::tempdir().unwrap();
    let cloud = Cloud::start(home.path());
    dev_keeps_all_in_its_folder(&cloud);
    a_second_dev_is_told_so(&cloud);
    images(&cloud);
    volumes(&cloud);
    what_fits_nowhere_waits(&cloud);
    nodes_and_services(&cloud);
    plugins(&cloud);
    bad_input_changes_nothing(&cloud);
    an_agent_that_dies_comes_back(&cloud);

    let agents = cloud.agents();
    assert_eq!(agents.len(), 3, "{agents:?}");
    assert_eq!(cloud.stop(), Some(0));
    assert!(!agents.into_iter().any(is_agent), "no agent outlives dev");

    let again = Cloud::start(home.path());
    let kept = again.run("volume list -o name").exits(0).stdout;
    assert_eq!(kept, "root\n", "what was there is there after a restart");
    again.run("volume delete root").exits(0);
    again.run("image delete tiny").exits(0);
    assert_eq!(again.stop(), Some(0));
}

fn dev_keeps_all_in_its_folder(cloud: &Cloud) {
    let mode = |path: PathBuf| {
        std::fs::metadata(&path)
            .unwrap_or_else(|e| panic!("{path:?}: {e}"))
            .permissions()
            .mode()
            & 0o777
    };
    for secret in [
        "client.toml",
        "api.token",
        "identity/key.pem",
        "nodes/node-1/agent.toml",
    ] {
        assert_eq!(mode(cloud.data.join(secret)), 0o600, "{secret}");
    }
    assert_eq!(mode(cloud.home.join(".config/symphony/client.toml")), 0o600);
    let shown = cloud.run("config show -o json").exits(0);
    assert_eq!(shown.json()["address"], json!(cloud.url));
    assert!(
        !shown
            .stdout
            .contains(std::fs::read_to_string(cloud.data.join("api.token")).unwrap().trim())
    );
    let own = command(&cloud.home)
        .env("SYMPHONY_CONFIG", cloud.data.join("client.toml"))
        .args(["node", "list", "-o", "name"])
        .output();
    assert_eq!(
        Ran::new("node list".into(), own.unwrap()).exits(0).stdout,
        "node-1\nnode-2\nnode-3\n"
    );
    let missing = command(&cloud.home)
        .env("SYMPHONY_CONFIG", "/nope/client.toml")
        .args(["node", "list"])
        .output();
    Ran::new("node list".into(), missing.unwrap())
        .fails(1, &["/nope/client.toml is not there", "symphony dev", "--address"]);
}

fn a_second_dev_is_told_so(cloud: &Cloud) {
    let dev = |data: &Path, listen: &str| {
        let output = command(&cloud.home)
            .args(["dev", "--listen", listen, "--data"])
            .arg(data)
            .stdin(Stdio::null())
            .output();
        Ran::new(format!("dev on {listen}"), output.unwrap())
    };
    dev(&cloud.data, "127.0.0.1:0").fails(1, &["another manager (process ", "--data DIR"]);
    let taken = cloud.url.trim_start_matches("http://");
    dev(&cloud.home.join("other"), taken).fails(1, &["could not listen", "--listen 127.0.0.1:0"]);
}

fn images(cloud: &Cloud) {
    let file = image(&cloud.home);
    let file = file.to_str().unwrap();
    let wrong = "0".repeat(64);
    cloud
        .run_args(&["image", "create", "tiny", "--file", file, "--sha256", &wrong])
        .fails(1, &["create image tiny", "hint: "]);
    cloud.run("image show tiny").fails(3, &["tiny"]);
    let made = cloud
        .run_args(&["image", "create", "tiny", "--file", file, "-o", "json"])
        .exits(0);
    assert_eq!(made.json()["status"]["phase"], json!("Ready"));
    assert_eq!(made.json()["spec"]["virtual_bytes"], json!(IMAGE_BYTES));
    assert!(made.stderr.contains("100% of 1MiB"), "{made:?}");
    cloud
        .run_args(&["image", "create", "tiny", "--file", file])
        .fails(4, &["tiny"]);
    assert_eq!(cloud.run("image list -o name").exits(0).stdout, "tiny\n");
}

fn volumes(cloud: &Cloud) {
    let preview = cloud
        .run("volume create root --image tiny --size 2MiB --dry-run -o json")
        .exits(0)
        .json();
    assert_eq!(preview["verdicts"].as_array().unwrap().len(), 3);
    assert_eq!(cloud.run("volume list -o json").exits(0).json(), json!([]));

    let made = cloud
        .run("volume create root --image tiny --size 2MiB --label app=web -o json")
        .exits(0);
    let volume = made.json();
    assert_eq!(
        (&volume["status"]["phase"], &volume["spec"]["size"]),
        (&json!("Ready"), &json!(2 << 20))
    );
    assert_eq!(
        volume["status"]["placement"]["node"], preview["node"],
        "the dry run said where"
    );
    assert_eq!(on_disk(cloud, &volume), disk_of(2 << 20));

    cloud.run("volume create root --size 1MiB").fails(4, &["root"]);
    cloud.run("volume resize root 1MiB").fails(1, &["root", "hint: "]);
    let grown = cloud.run("volume resize root 4MiB -o json").exits(0).json();
    assert_eq!(on_disk(cloud, &grown), disk_of(4 << 20));
    let told = cloud.run("volume delete root --dry-run").exits(0);
    assert!(told.stdout.contains("would be deleted"));
    cloud.run("image delete tiny").fails(4, &["root"]);
    cloud.run("image delete tiny --dry-run").fails(4, &["root"]);
    for form in ["table", "wide", "yaml", "name"] {
        assert!(
            cloud
                .run(&format!("volume list -o {form}"))
                .exits(0)
                .stdout
                .contains("root"),
            "{form}"
        );
        assert!(
            cloud
                .run(&format!("volume show root -o {form}"))
                .exits(0)
                .stdout
                .contains("root"),
            "{form}"
        );
    }
    let why = cloud.run("explain volume root").exits(0).stdout;
    assert!(why.contains("decided by spread@"), "{why}");
    assert!(
        ["node-1", "node-2", "node-3"].iter().all(|node| why.contains(node)),
        "{why}"
    );

    cloud.run("volume create gone --size 1MiB --no-wait").exits(0);
    cloud.run("volume delete gone nope").fails(3, &["nope"]);
    cloud.run("volume show gone").fails(3, &["gone"]);
}

/// The bytes of a volume, read from its pool.
fn on_disk(cloud: &Cloud, volume: &serde_json::Value) -> Vec<u8> {
    let node = volume["status"]["placement"]["node"].as_str().unwrap();
    let id = volume["id"].as_str().unwrap();
    let mut folders = vec![cloud.data.join("nodes").join(node).join("pools")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.file_name().unwrap().to_string_lossy().contains(id) {
                return std::fs::read(path).unwrap();
            }
        }
    }
    panic!("volume {id} is not in the pools of {node}");
}

/// What a volume of this size made from the image must hold.
fn disk_of(bytes: usize) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let mut disk = std::fs::read(image(folder.path())).unwrap();
    disk.resize(bytes, 0);
    disk
}

fn what_fits_nowhere_waits(cloud: &Cloud) {
    let all = ["node-1", "node-2", "node-3", "8GiB", "stays"];
    let ran = cloud.run("volume create big --size 8GiB -o json").fails(5, &all);
    assert_eq!(ran.json()["status"]["phase"], json!("Unplaceable"));
    cloud
        .run("volume create bigger --size 8GiB --dry-run")
        .fails(5, &all[..4]);
    let why = cloud.run("explain volume big").exits(0).stdout;
    assert!(
        why.contains("no node takes volume big") && why.contains("removed"),
        "{why}"
    );
    cloud.run("volume delete big").exits(0);
    cloud.run("volume show bigger").fails(3, &[]);
}

fn nodes_and_services(cloud: &Cloud) {
    let nodes = cloud.run("node list -o json").exits(0).json();
    let capacities: Vec<_> = nodes
        .as_array()
        .unwrap()
        .iter()
        .map(|node| &node["status"]["pools"][0]["capacity_bytes"])
        .collect();
    assert_eq!(
        capacities,
        [&json!(1_u64 << 30), &json!(2_u64 << 30), &json!(4_u64 << 30)]
    );
    cloud.run("node cordon node-3").exits(0);
    let preview = cloud
        .run("volume create x --size 1MiB --dry-run -o json")
        .exits(0)
        .json();
    assert_eq!(preview["node"], json!("node-2"), "the emptiest that takes new work");
    cloud.run("volume create x --size 3GiB --dry-run").fails(5, &["node-3"]);
    cloud.run("node uncordon node-3").exits(0);
    cloud.run("volume create x --size 3GiB --dry-run").exits(0);
    cloud
        .run("volume create x --size 1MiB --require zone=b --dry-run -o name")
        .exits(0);

    let socket = cloud.data.join("control.sock");
    let socket = socket.to_str().unwrap();
    let services = cloud
        .run_args(&["--socket", socket, "manager", "service", "list", "-o", "json"])
        .exits(0)
        .json();
    let mut roles: Vec<_> = services
        .as_array()
        .unwrap()
        .iter()
        .map(|service| service["role"].as_str().unwrap())
        .collect();
    roles.sort_unstable();
    assert_eq!(roles, ["block", "block", "block", "image", "manager"]);
    let id = "0192f0c1-2345-7abc-8def-0123456789ab";
    cloud
        .run_args(&["--socket", socket, "manager", "service", "remove", id])
        .fails(3, &[id]);
    cloud
        .run_args(&["--socket", socket, "volume", "list"])
        .fails(2, &["control sockets serve"]);
    cloud
        .run("--socket /nope/control.sock manager service list")
        .fails(3, &["/nope/control.sock", "symphony dev"]);
}

fn plugins(cloud: &Cloud) {
    let active = |name: &str| {
        let plugins = cloud.run("plugin list -o json").exits(0).json();
        let plugin = plugins
            .as_array()
            .unwrap()
            .iter()
            .find(|plugin| plugin["name"] == name)
            .cloned()
            .unwrap();
        plugin["active_in"] != json!([])
    };
    assert!(active("spread") && active("file") && active("blob") && !active("binpack"));
    cloud.run("plugin activate binpack").exits(0);
    assert!(active("binpack") && !active("spread"));
    let preview = cloud
        .run("volume create x --size 1MiB --dry-run -o json")
        .exits(0)
        .json();
    assert_eq!(preview["decided_by"]["name"], json!("binpack"));
    cloud.run("plugin rollback").exits(0);
    assert!(active("spread") && !active("binpack"));

    cloud.run("plugin activate nope").fails(3, &["nope"]);
    cloud
        .run("plugin activate file --slot scheduler/volume")
        .fails(1, &["file"]);
    let junk = cloud.home.join("junk.wasm");
    std::fs::write(&junk, b"not a component").unwrap();
    cloud
        .run(&format!("plugin push {}", junk.display()))
        .fails(1, &["junk.wasm", "hint: "]);
    let events = cloud.run("events -o json").exits(0).json();
    assert!(
        events
            .as_array()
            .unwrap()
            .iter()
            .any(|event| event["subject"]["name"] == "root"),
        "{events}"
    );
}

fn bad_input_changes_nothing(cloud: &Cloud) {
    let before = cloud.run("volume list -o json").exits(0).json();
    for (line, code) in [
        ("volume create bad --size 0", 2),
        ("volume create bad --size -1GiB", 2),
        ("volume create bad --size 1000", 2),
        ("volume create bad --size 10XiB", 2),
        ("volume create a/b --size 1MiB", 2),
        ("volume create .. --size 1MiB", 2),
        ("volume create bad --image nope", 3),
        ("volume create bad --image tiny --size 512", 1),
        ("volume show nope", 3),
        ("explain volume nope", 3),
        ("node cordon nope", 3),
        ("volume list --token wrong", 1),
    ] {
        let ran = cloud.run(line).exits(code);
        assert!(
            ran.stdout.is_empty() && ran.stderr.contains("error: "),
            "{line}: {ran:?}"
        );
    }
    assert_eq!(cloud.run("volume list -o json").exits(0).json(), before);
    cloud
        .run("volume list --address http://127.0.0.1:1 --token x")
        .fails(1, &["symphony dev"]);
}

fn an_agent_that_dies_comes_back(cloud: &Cloud) {
    let agents = cloud.agents();
    kill_process(Pid::from_raw(agents[0]).unwrap(), Signal::KILL).unwrap();
    eventually("the killed agent is started again", || {
        let now = cloud.agents();
        now.len() == 3 && !now.contains(&agents[0])
    });
    eventually("all nodes are ready again", || {
        let nodes = cloud.run("node list").exits(0).stdout;
        nodes.matches("Ready").count() == 3
    });
    let log = std::fs::read_to_string(cloud.home.join("dev.log")).unwrap();
    assert!(log.contains("starting it again"), "{log}");
}

#[test]
fn nothing_is_left_running_after_kill_9() {
    let home = tempfile::tempdir().unwrap();
    let cloud = Cloud::start(home.path());
    cloud.run("volume create kept --size 1MiB").exits(0);
    let agents = cloud.agents();
    assert_eq!(agents.len(), 3);
    // Dropping it is kill -9.
    drop(cloud);
    eventually("the agents end with the process that started them", || {
        !agents.iter().any(|agent| is_agent(*agent))
    });

    let again = Cloud::start(home.path());
    assert_eq!(
        again.run("volume show kept -o json").exits(0).json()["status"]["phase"],
        json!("Ready")
    );
    assert_eq!(again.stop(), Some(0));
}

/// The processes of a cloud whose command lines name something in its folder.
fn processes_of(cloud: &Path, word: &str) -> Vec<String> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    let folder = format!("{}/", cloud.display());
    lines
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(&folder) && line.contains(word))
        .collect()
}

#[test]
fn nodes_run_machines_where_they_can_and_none_outlives_them() {
    let home = tempfile::tempdir().unwrap();
    let cloud = Cloud::start_with(home.path(), &["--nodes", "2", "--node-memory", "2GiB"], None);
    let log = || std::fs::read_to_string(home.path().join("dev.log")).unwrap();
    if log().contains("no machines on this node") {
        eprintln!("!!! {}", log());
        return;
    }
    let data = cloud.data.clone();
    let nodes = cloud.run("node list -o json").exits(0).json();
    for node in nodes.as_array().unwrap() {
        let compute = &node["status"]["compute"];
        assert_eq!(compute["memory_bytes"], json!(2_u64 << 30), "{node}");
        assert_eq!(
            compute["cpus_claimable"].as_u64(),
            compute["cpus"].as_u64().map(|cpus| cpus * 4)
        );
        assert_eq!((&compute["cpus_claimed"], &compute["machines"]), (&json!(0), &json!(0)));
    }
    let shown = cloud.run("node show node-1").exits(0).stdout;
    assert!(shown.contains("memory: 0B claimed of 2GiB"), "{shown}");
    let listed = cloud.run("node list").exits(0).stdout;
    assert!(listed.contains("CPUS") && listed.contains("0B/2GiB"), "{listed}");
    let socket = data.join("control.sock");
    let services = cloud
        .run_args(&["--socket", socket.to_str().unwrap(), "manager", "service", "list"])
        .exits(0)
        .stdout;
    assert_eq!(
        (
            services.matches(" compute ").count(),
            services.matches(" network ").count()
        ),
        (2, 2),
        "{services}"
    );
    assert_eq!(processes_of(&data, "unshare --mount").len(), 2);

    // kill -9: what runs goes on, and the next dev finds it.
    cloud.kill();
    let before = processes_of(&data, "unshare --mount");
    assert_eq!(before.len(), 2);
    let again = Cloud::start_with(home.path(), &["--nodes", "2"], None);
    assert_eq!(processes_of(&data, "unshare --mount"), before);
    assert_eq!(again.stop(), Some(0));
    assert_eq!(processes_of(&data, ""), Vec::<String>::new());

    let without = Cloud::start_with(home.path(), &["--nodes", "2", "--no-machines"], None);
    let shown = without.run("node show node-1 -o json").exits(0).json();
    assert!(shown["status"].get("compute").is_none(), "{shown}");
    assert_eq!(without.stop(), Some(0));
}

#[test]
fn a_server_without_qemu_is_told_so_in_one_line() {
    let home = tempfile::tempdir().unwrap();
    let empty = home.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    let cloud = Cloud::start_with(home.path(), &["--nodes", "2"], Some(&empty));
    let log = std::fs::read_to_string(home.path().join("dev.log")).unwrap();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("no machines on")).collect();
    assert_eq!(lines.len(), 1, "{log}");
    assert!(
        lines[0].contains("no qemu-system-x86_64") && lines[0].contains("sudo apt-get install"),
        "{log}"
    );
    let node = cloud.run("node show node-2 -o json").exits(0).json();
    assert!(node["status"].get("compute").is_none(), "{node}");
    cloud.run("volume create v --size 1MiB").exits(0);
    assert_eq!(cloud.stop(), Some(0));
}

#[test]
fn events_are_followed_as_lines_of_json() {
    let home = tempfile::tempdir().unwrap();
    let cloud = Cloud::start(home.path());
    let mut follow = command(home.path());
    let mut follow = follow
        .args(["events", "--follow", "--limit", "0", "-o", "json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufReader::new(follow.stdout.take().unwrap()).lines();
    // More than one, because the first may come before the watch is there.
    let made = std::thread::scope(|scope| {
        let made = scope.spawn(|| {
            let line = lines.next().unwrap().unwrap();
            serde_json::from_str::<serde_json::Value>(&line).unwrap()
        });
        let mut n = 0;
        eventually("an event is told", || {
            n += 1;
            cloud.run(&format!("volume create v{n} --size 1MiB --no-wait")).exits(0);
            made.is_finished()
        });
        made.join().unwrap()
    });
    _ = follow.kill();
    _ = follow.wait();
    assert_eq!(made["kind"], json!("event"));
    assert_eq!(cloud.stop(), Some(0));
}

#[test]
fn a_manager_needs_a_folder_and_an_etcd_that_is_there() {
    let home = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| {
        Ran::new(
            args.join(" "),
            command(home.path()).args(args).stdin(Stdio::null()).output().unwrap(),
        )
    };
    run(&["manager"]).exits(2);
    let folder = home.path().join("m");
    run(&[
        "manager",
        "--config-dir",
        folder.to_str().unwrap(),
        "--etcd",
        "http://127.0.0.1:1",
    ])
    .fails(
        1,
        &["could not use etcd at http://127.0.0.1:1", "etcdctl endpoint health"],
    );
    let long = home.path().join("x".repeat(120));
    run(&[
        "manager",
        "--config-dir",
        long.to_str().unwrap(),
        "--listen",
        "127.0.0.1:0",
    ])
    .fails(1, &["control.sock", "shorter path"]);
}

#[test]
fn agent_becomes_the_program_beside() {
    need_agent();
    let home = tempfile::tempdir().unwrap();
    // One that can't be read ends it at once; without one it waits to be let in.
    let folder = home.path().join("agent");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("agent.toml"), "colour = 1").unwrap();
    let output = command(home.path())
        .args(["agent", "--config-dir", folder.to_str().unwrap()])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let ran = Ran::new("agent".into(), output);
    assert!(ran.code != 0 && ran.stderr.contains("agent.toml"), "{ran:?}");
}

#[test]
fn a_wrong_machine_is_refused_before_anything_is_sent() {
    let home = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = home.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let large = file("user-data", &"x".repeat(10_000_000));
    let private = file(
        "id",
        "-----BEGIN OPENSSH PRIVATE KEY-----\nx\n-----END OPENSSH PRIVATE KEY-----\n",
    );
    // Nobody listens there: whatever is sent would fail with exit code 1.
    let run = |line: &str| {
        let output = command(home.path())
            .args(["--address", "http://127.0.0.1:1", "--token", "x"])
            .args(line.split_whitespace())
            .stdin(Stdio::null())
            .output();
        Ran::new(line.to_owned(), output.unwrap())
    };
    let create = "machine create web1 --image tiny";
    run(&format!("{create} --user-data {large}")).fails(2, &["more than 64KiB", "hint: "]);
    run(&format!("{create} --ssh-key {private}")).fails(2, &["is a private key", "hint: "]);
    run(&format!("{create} --cpus 0")).fails(2, &["1 to 512"]);
    run(&format!("{create} --network net1 --allow sctp:1")).fails(2, &["is no rule"]);
    run("vm create web1 --volume data=1GiB").fails(2, &["boots from its first volume", "hint: "]);
    run("network create net1 --subnet 10.0.0.1/24").fails(2, &["10.0.0.0/24"]);
    run("events web1").fails(2, &["KIND/NAME"]);
    run("machine list").fails(1, &["symphony dev"]);
    let help = run("machine create --help").exits(0).stdout;
    assert!(help.contains("--apart-from") && help.contains("Examples:"), "{help}");
}

#[test]
fn completion_goes_to_stdout() {
    let home = tempfile::tempdir().unwrap();
    let output = command(home.path()).args(["completion", "bash"]).output().unwrap();
    assert!(
        Ran::new("completion".into(), output)
            .exits(0)
            .stdout
            .contains("_symphony")
    );
}
