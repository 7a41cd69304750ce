//! A release is refused where it would not be the same tomorrow. `docker` and `git` are stand-ins: no machine of the tests has the first.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::child;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(file: &str) -> String {
    fs::read_to_string(repository().join(file)).unwrap()
}

fn stand_in(folder: &Path, name: &str, script: &str) {
    let path = folder.join(name);
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_release_that_is_not_pinned_is_refused() {
    let folder = child::folder("coupon-release").unwrap();
    stand_in(&folder, "docker", "echo docker \"$@\"");
    let version = env!("CARGO_PKG_VERSION");
    let (image, digest) = (format!("host/coupon-operator:{version}"), "0a".repeat(32));
    let pinned = format!("rust:1.95.0-bookworm@sha256:{digest}");
    for (image, build_image, changes, expected) in [
        (&*image, "rust:1.95.0-bookworm", "", Err("may be another image tomorrow")),
        (&*image, "", "", Err("docker buildx imagetools inspect rust:")),
        (&*image, "rust@sha256:0a", "", Err("may be another image tomorrow")),
        ("host/coupon-operator:latest", &*pinned, "", Err("is what Cargo.toml says")),
        (&*image, &*pinned, " M Dockerfile", Err("not committed")),
        (&*image, &*pinned, "", Ok(())),
    ] {
        stand_in(&folder, "git", &format!("[ \"$1\" = status ] && printf '%s' '{changes}' || echo 0123"));
        let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
        let output = Command::new(repository().join("e2e/scripts/release-image.sh"))
            .args([image, build_image])
            .arg(folder.join("out"))
            .env("PATH", path)
            .output()
            .unwrap();
        let (said, refused) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        match expected {
            Ok(()) => {
                assert!(output.status.success(), "{refused}");
                let builds: Vec<_> = said.lines().filter(|line| line.starts_with("docker build")).collect();
                assert_eq!(builds.len(), 2, "{said}");
                assert!(builds.iter().all(|line| line.contains(&format!("BUILD_IMAGE={pinned}"))), "{said}");
            }
            Err(why) => {
                assert_eq!(output.status.code(), Some(1), "{image} from {build_image}");
                assert!(refused.contains(why) && !said.contains("docker build"), "{refused}");
            }
        }
    }
    fs::remove_dir_all(folder).unwrap();
}

/// Wrong: a release is compiled by another compiler than the tests were, or grows a shell.
#[test]
fn the_dockerfile_is_of_this_version_and_its_image_has_no_base() {
    let dockerfile = read("Dockerfile");
    let toolchain = read("rust-toolchain.toml");
    let channel =
        toolchain.lines().find_map(|line| line.strip_prefix("channel = ")).unwrap().trim_matches('"').to_owned();
    for line in [
        format!("ARG BUILD_IMAGE=rust:{channel}-bookworm"),
        format!("ENV RUSTUP_TOOLCHAIN={channel}"),
        format!("ARG VERSION={}", env!("CARGO_PKG_VERSION")),
    ] {
        assert!(dockerfile.lines().any(|each| each == line), "{line}");
    }
    let bases: Vec<_> = dockerfile.lines().filter_map(|line| line.strip_prefix("FROM ")).collect();
    assert_eq!(bases, ["${BUILD_IMAGE} AS build", "scratch AS sbom", "scratch"]);
    let (_, last) = dockerfile.rsplit_once("FROM ").unwrap();
    let copied: Vec<_> = last.lines().filter(|line| line.starts_with("COPY") || line.starts_with("ADD")).collect();
    assert_eq!(copied, ["COPY --from=build /image/ /"]);
}
