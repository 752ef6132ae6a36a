//! The command line of the client: what is taken, and what is refused before anything is sent.

use clap::Parser;
use clap::error::ErrorKind;

use crate::{Globals, Verb};

#[derive(Debug, Parser)]
#[command(name = "symphony")]
struct Line {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    verb: Verb,
}

fn parse(line: &str) -> Result<Line, clap::Error> {
    Line::try_parse_from(line.split_whitespace())
}

#[test]
fn good_lines_are_taken() {
    for line in [
        "symphony volume create data --size 10GiB",
        "symphony volume create root --image tiny",
        "symphony volume create data --size 1.5GiB --pool default --require zone=a --require ssd=true --label app=web",
        "symphony volume create data --size 512 --no-wait",
        "symphony volume create data --size 1G --wait --timeout 5m --dry-run",
        "symphony volume list -o wide",
        "symphony -o json volume ls",
        "symphony volume show 01890a5d-ac96-774b-bcce-b302099a8057",
        "symphony volume resize data 20GiB",
        "symphony volume delete a b c --no-wait",
        "symphony image create tiny --file -",
        "symphony image create tiny --url http://x/y",
        "symphony node cordon node-1 node-2",
        "symphony node drain node-1 --stop",
        "symphony node fence node-1 --confirm",
        "symphony node fence node-1 --no-wait",
        "symphony node power show node-1",
        "symphony node power set node-1 --device fence_ipmilan,ip=10.9.0.1,password=@ipmi --device fence_x --after 2m",
        "symphony node power clear node-1",
        "symphony plugin activate spread@0.1.0 --slot scheduler/volume --config {}",
        "symphony plugin rollback",
        "symphony plugin rollback driver/volume",
        "symphony machine create web1 --image tiny --cpus 1 --memory 256MiB --volume data=1GiB --network net1 --console",
        "symphony vm create web1 --image tiny --console --detach-key ctrl-a --timeout 10m",
        "symphony machine create web1 --volume old --volume data=1GiB,delete --stopped --no-wait",
        "symphony machine create web1 --image tiny --network a --network b --allow tcp:22 --rate 1Gbit --dry-run",
        "symphony machines ls -o wide",
        "symphony machine show 01890a5d-ac96-774b-bcce-b302099a8057",
        "symphony machine start a b --no-wait",
        "symphony machine stop a --timeout 5m",
        "symphony machine reboot a",
        "symphony machine resize a --memory 1GiB",
        "symphony machine attach a --volume data --delete-with-machine",
        "symphony machine attach a --network net1,address=10.0.0.5 --allow icmp --rate 1Mbit",
        "symphony machine detach a --network net1",
        "symphony machine console a",
        "symphony machine console a --log",
        "symphony machine delete a b --volumes keep --dry-run",
        "symphony network create net1",
        "symphony net create net1 --subnet 10.0.0.0/24 --nat --label a=1",
        "symphony network delete a b",
        "symphony explain machine web1",
        "symphony events machine/web1 --follow",
        "symphony explain volume data -o yaml",
        "symphony events --follow --limit 0",
        "symphony token create --role block --expires 15m -o name",
        "symphony token create --role member --project web --name ci",
        "symphony token list -o wide",
        "symphony token revoke 0123456789abcdef 0123456789abcdee",
        "symphony project create web --machines 10 --volume-size 1TiB",
        "symphony projects ls",
        "symphony project set-quota default --cpus none",
        "symphony project delete a b",
        "symphony --socket /x/control.sock audit --limit 500",
        "symphony backup cloud.backup",
        "symphony --socket /x/control.sock backup -",
        "symphony config show --address http://127.0.0.1:1 --token t --project lab",
    ] {
        assert!(parse(line).is_ok(), "{line}: {}", parse(line).unwrap_err());
    }
}

#[test]
fn wrong_lines_are_usage_errors_that_say_why() {
    refuses(&[
        ("symphony volume create data --size 0", "more than 0"),
        ("symphony volume create data --size -1GiB", "negative"),
        ("symphony volume create data --size 1000", "multiple of 512"),
        ("symphony volume create data --size 10XiB", "is not a size"),
        ("symphony volume create data --size 2PiB", "at most"),
        ("symphony volume create data", "--size"),
        ("symphony volume create a/b --size 1GiB", "'/'"),
        ("symphony volume create .. --size 1GiB", "'.'"),
        (
            "symphony volume create 01890a5d-ac96-774b-bcce-b302099a8057 --size 1GiB",
            "UUID",
        ),
        ("symphony volume create data --size 1GiB --require zone", "key=value"),
        (
            "symphony volume create data --size 1GiB --timeout soon",
            "is not a time",
        ),
        ("symphony volume show ../../etc", "'.'"),
        ("symphony volume resize data 0", "more than 0"),
        ("symphony volume delete", "<VOLUME>"),
        ("symphony image create tiny", "--file"),
        (
            "symphony image create tiny --file a --url http://b",
            "cannot be used with",
        ),
        (
            "symphony image create tiny --file a --sha256 12",
            "64 hexadecimal digits",
        ),
        ("symphony plugin rollback volume/scheduler", "is no slot"),
        ("symphony events --limit 9999", "9999"),
        ("symphony volume list -o xml", "xml"),
        ("symphony pod list", "pod"),
        ("symphony token create", "--role"),
        ("symphony token create --role root", "root"),
        ("symphony token create --role block --expires soon", "is not a time"),
        ("symphony token create --role block --uses 0", "1..=10000"),
        ("symphony token revoke web", "16 lower-case"),
        ("symphony project create web --memory much", "is not a size"),
        ("symphony audit --limit 0", "1..=500"),
        ("symphony events web1", "KIND/NAME"),
        ("symphony events pod/web1", "pod"),
    ]);
    let long = format!("symphony volume create {} --size 1GiB", "x".repeat(300));
    assert!(parse(&long).unwrap_err().to_string().contains("at most 63"));
    let nul = Line::try_parse_from(["symphony", "volume", "create", "a\0b", "--size", "1GiB"]).unwrap_err();
    assert_eq!(nul.kind(), ErrorKind::ValueValidation);
}

#[test]
fn wrong_machines_and_networks_are_usage_errors_that_say_why() {
    refuses(&[
        ("symphony machine create web1", "--image"),
        ("symphony machine create web1 --image tiny --cpus 0", "1 to 512"),
        ("symphony machine create web1 --image tiny --cpus -1", "1 to 512"),
        ("symphony machine create web1 --image tiny --memory 1MiB", "16MiB"),
        (
            "symphony machine create web1 --image tiny --volume data=0",
            "more than 0",
        ),
        (
            "symphony machine create web1 --image tiny --volume data=1GiB,keep",
            "`delete`",
        ),
        (
            "symphony machine create web1 --image tiny --network net1,mac=1",
            "no option of a network",
        ),
        (
            "symphony machine create web1 --image tiny --network n --allow tcp:0x16",
            "is no rule",
        ),
        (
            "symphony machine create web1 --image tiny --network n --rate fast",
            "is no rate",
        ),
        ("symphony machine create web1 --image tiny --allow tcp:22", "--network"),
        ("symphony machine create web1 --volume old --root-size 1GiB", "--image"),
        (
            "symphony machine create web1 --image tiny --restart sometimes",
            "on-failure",
        ),
        ("symphony machine create web1 --image tiny --require zone", "key=value"),
        (
            "symphony machine create web1 --image tiny --console --stopped",
            "cannot be used with",
        ),
        (
            "symphony machine create web1 --image tiny --console --no-wait",
            "cannot be used with",
        ),
        (
            "symphony machine create web1 --image tiny --detach-key ctrl-a",
            "--console",
        ),
        ("symphony machine resize a", "--cpus"),
        ("symphony machine attach a", "--volume"),
        (
            "symphony machine attach a --volume v --network n",
            "cannot be used with",
        ),
        (
            "symphony machine attach a --volume v --allow icmp",
            "cannot be used with",
        ),
        ("symphony machine detach a", "--volume"),
        ("symphony machine delete a --volumes some", "keep"),
        ("symphony machine start", "<MACHINE>"),
        ("symphony machine console a --detach-key space", "ctrl-"),
        ("symphony network create net1 --subnet 10.0.0.0/31", "/30"),
        ("symphony network create net1 --subnet 10.0.0.1/24", "10.0.0.0/24"),
        ("symphony network create net1 --subnet ten", "is no subnet"),
    ]);
}

#[track_caller]
fn refuses(lines: &[(&str, &str)]) {
    for (line, why) in lines {
        let error = parse(line).expect_err(line);
        assert_eq!(error.exit_code(), 2, "{line}");
        assert!(error.to_string().contains(why), "{line}: {error}");
    }
}

#[test]
fn waiting_is_the_default_and_the_last_flag_wins() {
    fn limit(line: &str) -> Option<std::time::Duration> {
        match parse(line).unwrap().verb {
            Verb::Volume(crate::VolumeVerb::Delete(args)) => args.limit(),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(limit("symphony volume delete a").unwrap().as_secs(), 30);
    assert_eq!(limit("symphony volume delete a --no-wait"), None);
    assert_eq!(
        limit("symphony volume delete a --no-wait --wait --timeout 2m")
            .unwrap()
            .as_secs(),
        120
    );
}
