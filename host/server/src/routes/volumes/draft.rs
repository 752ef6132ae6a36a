//! From what was asked for to a volume that could be stored: every value checked, the image looked up.

use symphony_api::Code;
use symphony_api::v1::CreateVolume;
use symphony_control::clock;
use symphony_core::id::VolumeId;
use symphony_core::image::{Image, ImagePhase};
use symphony_core::keys;
use symphony_core::labels::Labels;
use symphony_core::meta::Meta;
use symphony_core::name::Name;
use symphony_core::quantity::{Bytes, SECTOR_BYTES, VolumeSize};
use symphony_core::volume::{ImageSource, Volume, VolumeSpec, VolumeStatus};
use symphony_store::{Revision, Store};

use crate::failure::{Answer, Failure};
use crate::input::Check;
use crate::reading::Stored;
use crate::routes::images;

/// The values of a request, each of them acceptable.
pub(in crate::routes) struct Wanted<'a> {
    pub(in crate::routes) name: Name,
    pub(in crate::routes) labels: Labels,
    pub(in crate::routes) size: Option<VolumeSize>,
    /// Where in the body the size is.
    pub(in crate::routes) size_pointer: &'static str,
    pub(in crate::routes) pool: Option<Name>,
    pub(in crate::routes) require: Labels,
    pub(in crate::routes) image: Option<&'a str>,
}

/// A volume that could be stored, and the image's record that it was made on.
pub(in crate::routes) struct Draft {
    pub(in crate::routes) volume: Volume,
    pub(in crate::routes) image: Option<(String, Revision)>,
}

impl<'a> Wanted<'a> {
    /// Checks the values, all of them at once.
    pub(super) fn read(body: &'a CreateVolume) -> Answer<Self> {
        let mut check = Check::default();
        let name = check.take("/name", body.name.parse::<Name>());
        let labels = check.take("/labels", Labels::try_from(body.labels.clone()));
        let require = check.take("/spec/require", Labels::try_from(body.spec.require.clone()));
        let pool = body
            .spec
            .pool
            .as_ref()
            .map(|pool| check.take("/spec/pool", pool.parse::<Name>()));
        let size = body
            .spec
            .size
            .as_ref()
            .map(|size| check.take("/spec/size", size.volume_size()));
        if body.spec.size.is_none() && body.spec.image.is_none() {
            check.wrong(
                "/spec/size",
                "a volume needs a size, like \"10GiB\", or an image whose size it takes",
            );
        }
        check.end()?;
        match (name, labels, require) {
            (Some(name), Some(labels), Some(require)) => Ok(Self {
                name,
                labels,
                size: size.flatten(),
                size_pointer: "/spec/size",
                pool: pool.flatten(),
                require,
                image: body.spec.image.as_deref(),
            }),
            // Whatever is missing here was noted above.
            _ => Err(Failure::new(Code::InvalidArgument, "a value is not acceptable")),
        }
    }

    /// Looks the image up and makes the volume, with a new id.
    pub(in crate::routes) async fn draft(&self, store: &dyn Store, project: &Name) -> Answer<Draft> {
        let image = match self.image {
            Some(image) => Some(usable(store, project, image).await?),
            None => None,
        };
        let id = VolumeId::new(clock::new_uuid());
        let meta = Meta::new(
            id,
            project.clone(),
            self.name.clone(),
            self.labels.clone(),
            clock::now(),
        );
        let spec = VolumeSpec {
            size: self.size_for(image.as_ref().map(|image| &image.value))?,
            pool: self.pool.clone(),
            require: self.require.clone(),
            source: image.as_ref().map(|image| source(&image.value)),
        };
        let volume = Volume {
            meta,
            spec,
            placement: None,
            machine: None,
            status: VolumeStatus::pending(),
        };
        let image = image.map(|image| (keys::image(project, &image.value.meta.name), image.revision));
        Ok(Draft { volume, image })
    }

    fn size_for(&self, image: Option<&Image>) -> Answer<VolumeSize> {
        let disk_bytes = image.map_or(0, |image| image.spec.virtual_bytes);
        let Some(size) = self.size else {
            // A raw image may end within a sector; its disk does not.
            let whole = disk_bytes.next_multiple_of(SECTOR_BYTES);
            let wrong = |error| {
                Failure::field(
                    Code::Unprocessable,
                    "/spec/image",
                    format!("the image's disk can't be a volume: {error}"),
                )
            };
            return VolumeSize::try_from(whole).map_err(wrong);
        };
        if size.bytes() < disk_bytes {
            let disk = Bytes(disk_bytes);
            let detail = format!("{size} is smaller than the image's disk of {disk} ({disk_bytes} bytes)");
            return Err(Failure::field(Code::Unprocessable, self.size_pointer, detail));
        }
        Ok(size)
    }
}

/// An image that volumes may be made from.
async fn usable(store: &dyn Store, project: &Name, image: &str) -> Answer<Stored<Image>> {
    let wrong = |code, detail: String| Failure::field(code, "/spec/image", detail);
    let found = images::look_up(store, project, image).await?;
    let found = found.ok_or_else(|| {
        wrong(
            Code::NotFound,
            format!("there is no image {image:?} in project {project}"),
        )
    })?;
    if found.value.meta.is_deleting() {
        return Err(wrong(Code::Conflict, format!("the image {image:?} is being deleted")));
    }
    if found.value.status.phase == ImagePhase::Failed {
        return Err(wrong(
            Code::Conflict,
            format!("the image {image:?} was refused, see its conditions"),
        ));
    }
    Ok(found)
}

fn source(image: &Image) -> ImageSource {
    ImageSource {
        image: image.meta.name.clone(),
        digest: image.spec.digest,
        format: image.spec.format,
        stored_bytes: image.spec.stored_bytes,
        virtual_bytes: image.spec.virtual_bytes,
    }
}
