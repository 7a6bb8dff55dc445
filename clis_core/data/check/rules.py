"""Every fault that `clis data check` can find: its code, how bad it is, what it is called and what to do.

Codes never change their meaning; a fault that is no longer looked for leaves its code unused.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Severity = Literal["error", "warning", "note"]


class Rule(NamedTuple):
    """A kind of fault.

    Attributes:
        code: such as D201.
        severity: "error": training or evaluation fails, or its figures are wrong; "warning": something is left out or
            not what it seems; "note": good to know.
        title: what was found, in the plural.
        hint: what to do.
    """

    code: str
    severity: Severity
    title: str
    hint: str


_ABOUT = (
    Rule("D001", "error", "files that cannot be read as json", "Download or copy it again, or name another json."),
    Rule(
        "D002",
        "error",
        "lists missing from the annotation file",
        "An annotation json is an object with the lists 'images', 'annotations' and 'categories'.",
    ),
    Rule(
        "D003",
        "error",
        "NaN or Infinity, which json does not have",
        "Leave these records out, or write numbers in their place.",
    ),
    Rule("D004", "error", "lists without any entry", "Give the json of a split with images and categories."),
    Rule(
        "D005",
        "error",
        "training splits without any usable box",
        "Its 'annotations' need a 'bbox' [x, y, w, h] with an area, not all of them crowds.",
    ),
    Rule("D006", "note", "splits without an annotation file", "Name its json: --set data.train=FILE, data.val=FILE."),
    Rule("D101", "error", "image records with a fault", "Correct the fields, or leave the records out of the file."),
    Rule("D102", "error", "annotations with a fault", "Correct the fields, or leave the records out of the file."),
    Rule("D103", "error", "category records with a fault", "Give each category a whole number as id, and a name."),
    Rule("D104", "error", "image ids that occur again", "Give every image an id of its own."),
    Rule("D105", "error", "annotation ids that occur again", "Give every annotation an id of its own."),
    Rule("D106", "error", "category ids that occur again", "Give every category an id of its own."),
    Rule("D107", "error", "annotations of an image that is not listed", "Leave them out, or add the images."),
    Rule("D108", "error", "annotations of a category that is not listed", "Leave them out, or add the categories."),
    Rule("D109", "note", "annotation ids below 1", "lvis takes a match with such a box for none; clis renumbers them."),
    Rule("D110", "note", "annotations without an area", "Width times height is taken: write the area of the mask."),
    Rule("D201", "warning", "boxes without width or height", "They are left out of training: correct or drop them."),
    Rule("D202", "warning", "boxes outside of their image", "They are left out of training: correct or drop them."),
    Rule(
        "D203",
        "warning",
        "boxes that reach out of their image by more than a pixel",
        "They are cut off at its edge. Are these the images that were annotated? See D303.",
    ),
    Rule("D204", "note", "boxes thinner than a pixel", "Drop them if they are slips of the mouse."),
    Rule("D205", "warning", "boxes that repeat another of the same class", "Drop the copies: they count twice."),
    Rule("D206", "note", "boxes that are those of another class as well", "Keep one class, unless both are meant."),
    Rule("D207", "note", "images without boxes", "Training takes them for background: annotate or drop them."),
    Rule(
        "D208", "note", "crowd boxes", "Training leaves them out; COCO's evaluation does not judge what lies in them."
    ),
    Rule(
        "D209",
        "error",
        "crowd or ignored boxes in an LVIS file to evaluate on",
        "Remove them, or evaluate with --set eval.engine=lvis (slow; they count as others do).",
    ),
    Rule("D301", "error", "image files missing", "Name the folder that file names start from: data.train_images=DIR"),
    Rule("D302", "error", "image files that cannot be read", "Replace them, or leave them out of the json."),
    Rule(
        "D303",
        "error",
        "image files of another size than annotated",
        "Use the images that were annotated, or correct width and height in the json.",
    ),
    Rule(
        "D304",
        "error",
        "image files whose annotated size has the sides that EXIF swaps",
        "Their boxes were drawn on unturned pixels: --set data.exif=false; or true, where it is false.",
    ),
    Rule("D305", "warning", "image records that name the file of another record", "Join their boxes in one record."),
    Rule("D306", "warning", "image files that are copies of another", "Keep one of each, with all its boxes."),
    Rule(
        "D307",
        "note",
        "image files that EXIF turns",
        "Look whether boxes fit: clis inspect; if not, --set data.exif=false",
    ),
    Rule("D401", "warning", "classes without a training image", "Add boxes of them, or take them out of the file."),
    Rule("D402", "note", "classes without a validation image", "Their AP cannot be measured."),
    Rule(
        "D403",
        "warning",
        "class names that differ from another in nothing but case, spaces, hyphens or underscores",
        "Join the classes if they are one; labels of pictures are matched without these differences.",
    ),
    Rule("D404", "warning", "classes with the name of another class", "Join them, or name them apart."),
    Rule(
        "D405",
        "warning",
        "classes whose frequency is not that of their training images",
        "1-10 images are rare (r), 11-100 common (c), more frequent (f). Groups are taken as the file gives them.",
    ),
    Rule(
        "D406",
        "note",
        "classes with another image_count or instance_count than the file holds",
        "Count again; the counts of a subset are not those of the whole.",
    ),
    Rule("D407", "error", "classes with a frequency that is none of r, c, f", "Write r, c or f, or leave it out."),
    Rule(
        "D408",
        "warning",
        "classes without a frequency, where others have one",
        "Their group comes from their training images: write r, c or f.",
    ),
    Rule(
        "D410",
        "error",
        "images of an LVIS file to evaluate on that lack a federated list",
        'Add "neg_category_ids": [] and "not_exhaustive_category_ids": [] where they are empty.',
    ),
    Rule(
        "D411",
        "note",
        "training images of an LVIS file that lack a federated list",
        'Add "neg_category_ids": [] and "not_exhaustive_category_ids": [] where they are empty.',
    ),
    Rule("D412", "warning", "classes listed as absent from an image that has boxes of them", "Take them off the list."),
    Rule("D413", "note", "classes listed as not exhaustive in an image without a box of it", "Take them off the list."),
    Rule("D414", "warning", "classes listed as absent and as not exhaustive", "Take them off one of the lists."),
    Rule("D415", "warning", "unknown categories in a federated list", "Take them off the list."),
    Rule(
        "D501",
        "error",
        "classes of val that train does not have, or names otherwise",
        "Train and val must list the same categories with the same ids.",
    ),
    Rule("D502", "warning", "classes of train that val does not have", "Detections of them are not judged."),
    Rule("D503", "warning", "classes of another frequency in val than in train", "Groups are taken from train."),
    Rule("D504", "error", "image files in train and in val", "Take them out of one: it measures what it was taught."),
    Rule(
        "D505",
        "error",
        "training images that are copies of val's",
        "Take them out: else it measures what it was taught.",
    ),
    Rule("D506", "warning", "training images that look like val's", "Look at both; take copies out of train."),
    Rule("D601", "error", "folders of shards that cannot be used", "See what is left: clis shards verify DIR"),
    Rule(
        "D602",
        "error",
        "categories of the shards whose id is another class in the data",
        "Build the shards for this data set: clis build-imagenet-subset --lvis TRAIN_JSON, or clis build-images",
    ),
    Rule(
        "D603",
        "warning",
        "categories of the shards that the data do not have",
        "Their pictures are left out. Build the shards for this data set to take them in.",
    ),
    Rule("D604", "note", "classes without a picture in the shards", "clis shards info DIR tells why."),
    Rule(
        "D605",
        "error",
        "pictures of the shards that are copies of val's",
        "Build the shards without them: else it measures what it was taught.",
    ),
    Rule("D606", "warning", "pictures of the shards that look like val's", "Look at both; build without copies."),
    Rule("D607", "error", "pictures of the shards that cannot be read", "clis shards verify DIR"),
    Rule("D608", "error", "folders of shards without a picture of these classes", "Build them for this data set."),
)

RULES: dict[str, Rule] = {rule.code: rule for rule in _ABOUT}
"""By code, in their order."""
