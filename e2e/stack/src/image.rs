//! Container images without Docker: an OCI archive with one layer. Or the files of an image in a folder, for who makes the image by
//! other means (`Dockerfile`); then it is the same list of files: programs, what they load, and no shell.
//!
//! The same files give the same archive, byte for byte: entries are sorted and carry no times or owners.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs;
use std::io::Write;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::cache::hex;
use crate::run::run;
use crate::sbom::CA_CERTIFICATES;
use crate::{libraries, sbom};

/// Changes whenever the same files would give another archive.
pub const FORMAT: &str = "oci-1";

/// The user that an image runs as.
const USER: u32 = 65532;

/// One file of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The file on this machine; or a folder, with all in it.
    pub from: PathBuf,
    /// Its absolute path in the image.
    pub to: PathBuf,
}

impl std::str::FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (from, to) =
            text.split_once(':').ok_or_else(|| format!("`{text}` is not of the form SOURCE:DESTINATION"))?;
        if from.is_empty() || !to.starts_with('/') {
            return Err(format!("`{text}` needs a source, and a destination that starts with `/`"));
        }
        Ok(Self { from: from.into(), to: to.into() })
    }
}

/// What an image is made of.
#[derive(Clone, Debug)]
pub struct Image {
    /// Name and tag. Not `latest`, which would make Kubernetes pull it.
    pub name: String,
    /// The command that a container runs.
    pub entrypoint: Vec<String>,
    /// The files. Binaries are stripped of debug information, and their shared libraries come with them.
    pub files: Vec<Source>,
    /// Whether to add this machine's certificate authorities.
    pub ca_certificates: bool,
}

#[derive(Debug)]
struct File {
    content: Vec<u8>,
    executable: bool,
    /// Nobody asked for it by name: a package of this machine has it.
    of_the_system: bool,
}

/// All that is in an image.
pub struct Packed<'a> {
    image: &'a Image,
    tag: &'a str,
    files: BTreeMap<PathBuf, File>,
}

impl Image {
    /// Reads all that is in the image.
    ///
    /// # Errors
    /// If a file cannot be read, a shared library is missing, or the name has no tag.
    pub fn pack(&self) -> Result<Packed<'_>> {
        let (_, tag) = split_tag(&self.name)?;
        ensure!(tag != "latest", "give the image a tag other than `latest`: Kubernetes would try to pull it");
        let mut files = BTreeMap::new();
        for source in &self.files {
            add(&mut files, &source.from, &source.to)?;
        }
        if self.ca_certificates {
            let path = Path::new(CA_CERTIFICATES);
            let content = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
            files.insert(path.to_owned(), File { content, executable: false, of_the_system: true });
        }
        for (path, content) in [
            (
                "/etc/passwd",
                format!("root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:{USER}:{USER}:nonroot:/tmp:/sbin/nologin\n"),
            ),
            ("/etc/group", format!("root:x:0:\nnonroot:x:{USER}:\n")),
            ("/etc/nsswitch.conf", "hosts: files dns\n".to_owned()),
        ] {
            let file = File { content: content.into_bytes(), executable: false, of_the_system: false };
            files.entry(path.into()).or_insert(file);
        }
        Ok(Packed { image: self, tag, files })
    }

    fn archive(&self, layer: &[u8]) -> Result<Vec<u8>> {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        let config = serde_json::to_vec(&json!({
            "architecture": architecture,
            "os": "linux",
            "config": {
                "User": format!("{USER}:{USER}"),
                "Entrypoint": self.entrypoint,
                "Env": ["PATH=/usr/local/bin:/usr/bin:/bin"],
                "WorkingDir": "/",
            },
            "rootfs": { "type": "layers", "diff_ids": [digest(layer)] },
        }))?;
        let manifest = serde_json::to_vec(&json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
            "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", layer)],
        }))?;
        let mut entry = descriptor("application/vnd.oci.image.manifest.v1+json", &manifest);
        entry["annotations"] = json!({ "io.containerd.image.name": canonical_name(&self.name) });
        let index = serde_json::to_vec(&json!({ "schemaVersion": 2, "manifests": [entry] }))?;
        let mut archive = tar::Builder::new(Vec::new());
        append(&mut archive, "index.json", &index, 0o644)?;
        append(&mut archive, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#, 0o644)?;
        for blob in [&config[..], &manifest, layer] {
            append(&mut archive, digest(blob).replace("sha256:", "blobs/sha256/"), blob, 0o644)?;
        }
        Ok(archive.into_inner()?)
    }
}

impl Packed<'_> {
    /// Writes the image's archive.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, archive: &Path) -> Result<()> {
        write_whole(archive, &self.image.archive(&layer(&self.files)?)?)
    }

    /// Writes the image's files, each below `root`, which is made.
    ///
    /// # Errors
    /// If `root` is there already, or cannot be written.
    pub fn write_root(&self, root: &Path) -> Result<()> {
        fs::create_dir(root).with_context(|| format!("cannot make {}", root.display()))?;
        let mut layer = tar::Archive::new(std::io::Cursor::new(layer(&self.files)?));
        layer.set_preserve_permissions(true);
        layer.unpack(root).with_context(|| format!("cannot write {}", root.display()))
    }

    /// Writes what the image is made of, as a CycloneDX document, if its programs are those of these packages of the workspace.
    ///
    /// # Errors
    /// If cargo or dpkg does not say it, or it cannot be written.
    pub fn write_sbom(&self, packages: &[String], document: &Path) -> Result<()> {
        let system: Vec<&Path> =
            self.files.iter().filter(|(_, file)| file.of_the_system).map(|(path, _)| path.as_path()).collect();
        let name = self.image.name.strip_suffix(self.tag).unwrap_or_default().trim_end_matches(':');
        let sbom = sbom::document(name, self.tag, packages, &system)?;
        write_whole(document, &serde_json::to_vec_pretty(&sbom)?)
    }
}

/// Nobody sees a half of it.
fn write_whole(file: &Path, content: &[u8]) -> Result<()> {
    let partial = file.with_extension("partial");
    fs::write(&partial, content).with_context(|| format!("cannot write {}", partial.display()))?;
    Ok(fs::rename(&partial, file)?)
}

/// The full name and the manifest's digest of an archive made by [`Packed::write`].
///
/// # Errors
/// If it is not such an archive.
pub fn identify(archive: &Path) -> Result<(String, String)> {
    let file = fs::File::open(archive).with_context(|| format!("cannot open {}", archive.display()))?;
    let mut archive_reader = tar::Archive::new(file);
    let first = archive_reader.entries()?.next().context("the archive is empty")??;
    let index: Value = serde_json::from_reader(first).context("the archive does not begin with an OCI index")?;
    let manifest = &index["manifests"][0];
    let name = manifest["annotations"]["io.containerd.image.name"].as_str();
    let digest = manifest["digest"].as_str();
    name.zip(digest).map(|(n, d)| (n.to_owned(), d.to_owned())).context("the archive's index names no image")
}

fn split_tag(name: &str) -> Result<(&str, &str)> {
    name.rsplit_once(':')
        .filter(|(_, tag)| !tag.is_empty() && !tag.contains('/'))
        .with_context(|| format!("`{name}` has no tag: use NAME:TAG"))
}

/// The name as Kubernetes completes it: without a host, images belong to `docker.io`; without a path, to its `library`.
fn canonical_name(name: &str) -> String {
    match name.split_once('/') {
        None => format!("docker.io/library/{name}"),
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => name.to_owned(),
        Some(_) => format!("docker.io/{name}"),
    }
}

fn add(files: &mut BTreeMap<PathBuf, File>, from: &Path, to: &Path) -> Result<()> {
    let metadata = fs::metadata(from).with_context(|| format!("cannot read {}", from.display()))?;
    if metadata.is_dir() {
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            add(files, &entry.path(), &to.join(entry.file_name()))?;
        }
        return Ok(());
    }
    let content = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    let executable = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o111 != 0;
    if !(executable && content.starts_with(b"\x7fELF")) {
        files.insert(to.to_owned(), File { content, executable, of_the_system: false });
        return Ok(());
    }
    for library in libraries::of(from)? {
        if let Entry::Vacant(place) = files.entry(library) {
            let library = place.key();
            let content = fs::read(library).with_context(|| format!("cannot read {}", library.display()))?;
            place.insert(File { content, executable: true, of_the_system: true });
        }
    }
    files.insert(to.to_owned(), File { content: stripped(from)?, executable: true, of_the_system: false });
    Ok(())
}

/// The binary without debug information; function names stay, for backtraces.
fn stripped(binary: &Path) -> Result<Vec<u8>> {
    let name = binary.file_name().unwrap_or_default().to_string_lossy();
    let copy = std::env::temp_dir().join(format!("coupon-strip-{}-{name}", std::process::id()));
    let outcome = run(Command::new("strip").args(["--strip-debug", "-o"]).arg(&copy).arg(binary));
    let content = outcome.and_then(|()| Ok(fs::read(&copy)?));
    // Whatever happened: the copy is of no more use, and may never have existed.
    let _ = fs::remove_file(&copy);
    content
}

fn layer(files: &BTreeMap<PathBuf, File>) -> Result<Vec<u8>> {
    let mut folders = BTreeMap::from([(PathBuf::from("/tmp"), 0o1777)]);
    for path in files.keys() {
        for folder in path.ancestors().skip(1).filter(|folder| folder.components().any(|c| c != Component::RootDir)) {
            folders.entry(folder.to_owned()).or_insert(0o755);
        }
    }
    let mut layer = tar::Builder::new(Vec::new());
    for (path, mode) in &folders {
        let mut header = header(*mode, 0);
        header.set_entry_type(tar::EntryType::Directory);
        layer.append_data(&mut header, relative(path), std::io::empty())?;
    }
    for (path, file) in files {
        let mode = if file.executable { 0o755 } else { 0o644 };
        append(&mut layer, relative(path), &file.content, mode)?;
    }
    Ok(layer.into_inner()?)
}

fn relative(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}

fn header(mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

fn append(archive: &mut tar::Builder<impl Write>, path: impl AsRef<Path>, content: &[u8], mode: u32) -> Result<()> {
    Ok(archive.append_data(&mut header(mode, content.len() as u64), path, content)?)
}

fn digest(content: &[u8]) -> String {
    format!("sha256:{}", hex(&Sha256::digest(content)))
}

fn descriptor(media_type: &str, content: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": digest(content), "size": content.len() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(folder: &Path) -> Image {
        let files = vec![Source { from: folder.join("in"), to: "/data".into() }];
        Image { name: "thing:1".into(), entrypoint: vec!["/data/a".into()], files, ca_certificates: false }
    }

    #[test]
    fn the_same_files_give_the_same_archive_whatever_their_times() {
        let folder = std::env::temp_dir().join(format!("coupon-image-test-{}", std::process::id()));
        fs::create_dir_all(folder.join("in")).unwrap();
        for (out, order) in [("one.tar", ["a", "b"]), ("two.tar", ["b", "a"])] {
            for name in order {
                fs::write(folder.join("in").join(name), name).unwrap();
            }
            image(&folder).pack().unwrap().write(&folder.join(out)).unwrap();
        }
        assert_eq!(fs::read(folder.join("one.tar")).unwrap(), fs::read(folder.join("two.tar")).unwrap());
        let (name, first) = identify(&folder.join("one.tar")).unwrap();
        assert_eq!(name, "docker.io/library/thing:1");
        fs::write(folder.join("in/a"), "changed").unwrap();
        image(&folder).pack().unwrap().write(&folder.join("one.tar")).unwrap();
        assert_ne!(identify(&folder.join("one.tar")).unwrap().1, first);
        fs::remove_dir_all(&folder).unwrap();
    }

    /// Wrong: the image that Docker makes has another list of files than the one that tests run in, or a shell.
    #[test]
    fn an_image_has_a_program_what_it_loads_and_no_shell() {
        let folder = crate::child::folder("coupon-image-root").unwrap();
        let files = vec![Source { from: "/usr/bin/env".into(), to: "/usr/local/bin/thing".into() }];
        let entrypoint = vec!["/usr/local/bin/thing".into()];
        let image = Image { name: "thing:1".into(), entrypoint, files, ca_certificates: true };
        let root = folder.join("root");
        let packed = image.pack().unwrap();
        packed.write_root(&root).unwrap();
        assert!(packed.write_root(&root).is_err(), "nothing is mixed with what was there");
        let mut found = Vec::new();
        let mut open = vec![root.clone()];
        while let Some(path) = open.pop() {
            for entry in fs::read_dir(path).unwrap().map(Result::unwrap) {
                let path = entry.path();
                if path.is_dir() { open.push(path) } else { found.push(path.strip_prefix(&root).unwrap().to_owned()) }
            }
        }
        let is_library = |path: &Path| path.to_string_lossy().contains(".so");
        let libraries = found.extract_if(.., |path| is_library(path)).count();
        assert!(libraries > 1, "a loader, and a C library at least");
        found.sort();
        let expected = [
            "etc/group",
            "etc/nsswitch.conf",
            "etc/passwd",
            "etc/ssl/certs/ca-certificates.crt",
            "usr/local/bin/thing",
        ];
        assert_eq!(found, expected.map(PathBuf::from));
        let mode =
            |path: &str| std::os::unix::fs::PermissionsExt::mode(&fs::metadata(root.join(path)).unwrap().permissions());
        assert_eq!((mode("tmp") & 0o7777, mode("usr/local/bin/thing") & 0o777), (0o1777, 0o755));
        let inside = Command::new("chroot").arg(&root).args(["/usr/local/bin/thing", "--version"]).output().unwrap();
        assert!(inside.status.success(), "{}", String::from_utf8_lossy(&inside.stderr));
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_layer_has_every_folder_before_what_is_in_it() {
        let files = BTreeMap::from([(
            PathBuf::from("/a/b/c"),
            File { content: vec![1], executable: true, of_the_system: false },
        )]);
        let layer = layer(&files).unwrap();
        let entries: Vec<(String, u32)> = tar::Archive::new(&layer[..])
            .entries()
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                (entry.path().unwrap().display().to_string(), entry.header().mode().unwrap())
            })
            .collect();
        let expected = [("a", 0o755), ("a/b", 0o755), ("tmp", 0o1777), ("a/b/c", 0o755)];
        assert_eq!(entries, expected.map(|(path, mode)| (path.to_owned(), mode)));
    }

    #[test]
    fn names_are_completed_as_kubernetes_does() {
        assert_eq!(canonical_name("a:1"), "docker.io/library/a:1");
        assert_eq!(canonical_name("a/b:1"), "docker.io/a/b:1");
        assert_eq!(canonical_name("host.example/a:1"), "host.example/a:1");
        assert!(split_tag("a").is_err() && split_tag("host:80/a").is_err());
    }
}
