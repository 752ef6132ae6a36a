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
        "symphony plugin activate spread@0.1.0 --slot scheduler/volume --config {}",
        "symphony plugin rollback",
        "symphony plugin rollback driver/volume",
        "symphony explain volume data -o yaml",
        "symphony events --follow --limit 0",
        "symphony config show --address http://127.0.0.1:1 --token t --project lab",
    ] {
        assert!(parse(line).is_ok(), "{line}: {}", parse(line).unwrap_err());
    }
}

#[test]
fn wrong_lines_are_usage_errors_that_say_why() {
    for (line, why) in [
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
        ("symphony vm list", "vm"),
    ] {
        let error = parse(line).expect_err(line);
        assert_eq!(error.exit_code(), 2, "{line}");
        assert!(error.to_string().contains(why), "{line}: {error}");
    }
    let long = format!("symphony volume create {} --size 1GiB", "x".repeat(300));
    assert!(parse(&long).unwrap_err().to_string().contains("at most 63"));
    let nul = Line::try_parse_from(["symphony", "volume", "create", "a\0b", "--size", "1GiB"]).unwrap_err();
    assert_eq!(nul.kind(), ErrorKind::ValueValidation);
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
