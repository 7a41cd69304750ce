//! The files and modules of one crate, as `mod` declares them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::{Attribute, Expr, Item, Lit, Meta, UseTree, Visibility};

/// A file with what it says outside of tests.
pub(crate) struct File {
    pub(crate) path: PathBuf,
}

/// A module: a file, or a part of one.
#[derive(Default)]
pub(crate) struct Module {
    /// Its place among the crate's files.
    pub(crate) file: usize,
    /// The module that declares it; of the crate's first, itself.
    pub(crate) parent: usize,
    /// The modules that it declares.
    pub(crate) children: BTreeMap<String, usize>,
    /// What it imports, and re-exports.
    pub(crate) uses: Vec<Use>,
    /// What it defines beside modules.
    pub(crate) names: BTreeSet<String>,
    /// What it says beside imports and modules.
    pub(crate) tokens: TokenStream,
}

/// One name that `use` brings.
pub(crate) struct Use {
    /// As written, such as `crate`, `epoch`, `Epoch`.
    pub(crate) path: Vec<String>,
    /// What the module calls it; `*` for whatever is there.
    pub(crate) name: String,
    /// Whether others see it here as well.
    pub(crate) is_public: bool,
}

/// All modules of a crate; the first is its root.
#[derive(Default)]
pub(crate) struct Tree {
    files: Vec<File>,
    modules: Vec<Module>,
}

impl Tree {
    /// Reads the crate whose first file is `root`. What is compiled for tests only is left out: tests import whatever they like, and
    /// nothing imports them.
    ///
    /// # Errors
    /// If a file is missing, or is no Rust.
    pub(crate) fn read(root: &Path) -> Result<Self> {
        let mut tree = Self::default();
        let folder = root.parent().unwrap_or(Path::new(".")).to_owned();
        tree.read_file(root, &folder, 0)?;
        Ok(tree)
    }

    /// The crate's files.
    pub(crate) fn files(&self) -> &[File] {
        &self.files
    }

    /// The crate's modules.
    pub(crate) fn modules(&self) -> &[Module] {
        &self.modules
    }

    /// Returns the number of the module that the file is. `folder` is where the files of its modules are.
    fn read_file(&mut self, path: &Path, folder: &Path, parent: usize) -> Result<usize> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let parsed = syn::parse_file(&text).with_context(|| path.display().to_string())?;
        self.files.push(File { path: path.to_owned() });
        let file = self.files.len() - 1;
        self.read_items(&parsed.items, file, folder, parent)
    }

    fn read_items(&mut self, items: &[Item], file: usize, folder: &Path, parent: usize) -> Result<usize> {
        self.modules.push(Module { file, parent, ..Module::default() });
        let this = self.modules.len() - 1;
        for item in items {
            match item {
                Item::Mod(declared) if is_for_tests(&declared.attrs) => {}
                Item::Mod(declared) => {
                    let name = declared.ident.to_string();
                    let within = folder.join(&name);
                    let child = match (&declared.content, path_attribute(&declared.attrs)) {
                        (Some((_, items)), _) => self.read_items(items, file, &within, this)?,
                        (None, Some(path)) => {
                            let path = folder.join(path);
                            let beside = path.parent().unwrap_or(folder).to_owned();
                            self.read_file(&path, &beside, this)?
                        }
                        (None, None) => {
                            let flat = folder.join(format!("{name}.rs"));
                            let path = if flat.exists() { flat } else { within.join("mod.rs") };
                            self.read_file(&path, &within, this)?
                        }
                    };
                    self.modules[this].children.insert(name, child);
                }
                Item::Use(used) if !is_for_tests(&used.attrs) => {
                    let is_public = !matches!(used.vis, Visibility::Inherited);
                    leaves(&used.tree, &mut Vec::new(), &mut |path, name| {
                        self.modules[this].uses.push(Use { path, name, is_public });
                    });
                }
                Item::Use(_) => {}
                Item::Fn(it) if is_for_tests(&it.attrs) => {}
                Item::Impl(it) if is_for_tests(&it.attrs) => {}
                Item::Struct(it) if is_for_tests(&it.attrs) => {}
                Item::Const(it) if is_for_tests(&it.attrs) => {}
                other => {
                    self.modules[this].names.extend(defined(other));
                    self.modules[this].tokens.extend(other.to_token_stream());
                }
            }
        }
        Ok(this)
    }
}

/// The name of an item that others may import.
fn defined(item: &Item) -> Option<String> {
    let ident = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::TraitAlias(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(ident.to_string())
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) if list.path.is_ident("cfg") => list.tokens.to_string() == "test",
        meta => meta.path().is_ident("test"),
    })
}

fn path_attribute(attributes: &[Attribute]) -> Option<String> {
    attributes.iter().find_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("path") => match &pair.value {
            Expr::Lit(literal) => match &literal.lit {
                Lit::Str(text) => Some(text.value()),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    })
}

/// Tells `take` each name that a `use` brings, with its path.
fn leaves(tree: &UseTree, before: &mut Vec<String>, take: &mut impl FnMut(Vec<String>, String)) {
    let mut end = |ident: String, name: String| {
        let mut path = before.clone();
        // `use a::b::{self}` brings `b`.
        let name = if ident == "self" && !path.is_empty() {
            if name == "self" { path.last().cloned().unwrap_or(name) } else { name }
        } else {
            path.push(ident);
            name
        };
        take(path, name);
    };
    match tree {
        UseTree::Path(path) => {
            before.push(path.ident.to_string());
            leaves(&path.tree, before, take);
            before.pop();
        }
        UseTree::Name(name) => end(name.ident.to_string(), name.ident.to_string()),
        UseTree::Rename(renamed) => end(renamed.ident.to_string(), renamed.rename.to_string()),
        UseTree::Glob(_) => take(before.clone(), "*".to_owned()),
        UseTree::Group(group) => group.items.iter().for_each(|tree| leaves(tree, before, take)),
    }
}
