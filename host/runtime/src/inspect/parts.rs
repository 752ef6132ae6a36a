//! One pass over the bytes: counts what a hostile component would have too much of, and collects what is at the top.

use wasmparser::{BinaryReader, Chunk, Parser, Payload};

use super::section::SECTION_NAME;
use super::{Rejected, rejected};

/// Components and modules within one another.
const LEVELS_MAX: u64 = 8;
const MODULES_MAX: u64 = 64;
const COMPONENTS_MAX: u64 = 64;
const FUNCTIONS_MAX: u64 = 200_000;
/// One function: compilers need time and memory that grow faster than this.
const FUNCTION_BYTES_MAX: u64 = 2 << 20;
/// All memories together, as declared. What an instance may really have is in `limits`.
const MEMORY_BYTES_MAX: u64 = 1 << 30;
const PAGE_BYTES: u64 = 64 << 10;
const NAMES_MAX: u64 = 1024;
/// The magic number and the version.
const HEADER_BYTES: usize = 8;

#[derive(Debug, Default)]
pub(super) struct Parts<'a> {
    pub(super) imports: Vec<String>,
    pub(super) exports: Vec<String>,
    pub(super) section: Option<&'a [u8]>,
    modules: u64,
    components: u64,
    functions: u64,
    memory_bytes: u64,
}

pub(super) fn read(bytes: &[u8]) -> Result<Parts<'_>, Rejected> {
    is_whole(bytes)?;
    let mut parts = Parts::default();
    let mut parser = Parser::new(0);
    parser.set_features(super::features());
    let mut outer: Vec<Parser> = Vec::new();
    let mut rest = bytes;
    loop {
        let payload = match parser.parse(rest, true).map_err(|error| rejected::malformed(&error))? {
            Chunk::NeedMoreData(_) => return Err(Rejected::Truncated),
            Chunk::Parsed { consumed, payload } => {
                rest = &rest[consumed..];
                payload
            }
        };
        match payload {
            Payload::ModuleSection { parser: inner, .. } => {
                parts.modules += 1;
                limit("core modules", parts.modules, MODULES_MAX)?;
                outer.push(std::mem::replace(&mut parser, inner));
            }
            Payload::ComponentSection { parser: inner, .. } => {
                parts.components += 1;
                limit("inner components", parts.components, COMPONENTS_MAX)?;
                outer.push(std::mem::replace(&mut parser, inner));
            }
            Payload::End(_) => match outer.pop() {
                Some(parent) => parser = parent,
                None => return Ok(parts),
            },
            other => parts.take(other, outer.is_empty())?,
        }
        limit("levels", outer.len() as u64, LEVELS_MAX)?;
    }
}

impl<'a> Parts<'a> {
    fn take(&mut self, payload: Payload<'a>, at_top: bool) -> Result<(), Rejected> {
        let wrong = |error| rejected::malformed(&error);
        match payload {
            Payload::CodeSectionEntry(body) => {
                self.functions += 1;
                limit("functions", self.functions, FUNCTIONS_MAX)?;
                limit(
                    "bytes in one function",
                    body.range().end - body.range().start,
                    FUNCTION_BYTES_MAX,
                )?;
            }
            Payload::MemorySection(memories) => {
                for memory in memories {
                    let pages = memory.map_err(wrong)?.initial;
                    self.memory_bytes = self.memory_bytes.saturating_add(pages.saturating_mul(PAGE_BYTES));
                }
                if self.memory_bytes > MEMORY_BYTES_MAX {
                    return Err(Rejected::Memory {
                        bytes: self.memory_bytes,
                        limit: MEMORY_BYTES_MAX,
                    });
                }
            }
            Payload::ComponentImportSection(imports) if at_top => {
                limit("imports", u64::from(imports.count()), NAMES_MAX)?;
                for import in imports {
                    self.imports.push(import.map_err(wrong)?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(exports) if at_top => {
                limit(
                    "exports",
                    self.exports.len() as u64 + u64::from(exports.count()),
                    NAMES_MAX,
                )?;
                for export in exports {
                    self.exports.push(export.map_err(wrong)?.name.name.to_owned());
                }
            }
            Payload::CustomSection(section) if at_top && section.name() == SECTION_NAME => {
                let before = self.section.replace(section.data());
                return before.map_or(Ok(()), |_| Err(Rejected::Section("it is there twice".to_owned())));
            }
            _ => {}
        }
        Ok(())
    }
}

/// Whether the sections at the top end where the bytes end. The parser itself can't tell a file that was cut off from
/// one that is wrong.
fn is_whole(bytes: &[u8]) -> Result<(), Rejected> {
    let mut rest = BinaryReader::new(bytes.get(HEADER_BYTES..).unwrap_or_default(), HEADER_BYTES as u64);
    while !rest.eof() {
        let section = rest
            .read_u8()
            .and_then(|_| rest.read_var_u32())
            .and_then(|length| rest.read_bytes(length as usize));
        section.map_err(|_| Rejected::Truncated)?;
    }
    Ok(())
}

fn limit(what: &'static str, count: u64, limit: u64) -> Result<(), Rejected> {
    if count > limit {
        Err(Rejected::TooMany { what, count, limit })
    } else {
        Ok(())
    }
}
