"""The job behind `clis report`: its figures are those of the evaluation, and what does not fit is told."""

import json
import shutil

import pytest
from PIL import Image

from clis_core.errors import CheckpointError, ConfigError, DataError
from clis_core.jobs.report import report
from clis_core.jobs.report_runs import distinct_titles, find_evaluation
from clis_core.jobs.run_log import read_log
from clis_core.report import SilentReporter
from tests.draw import draw_coco, draw_lvis
from tests.jobs.evaluated import evaluated_run, evaluation_of
from tests.page.reading import Page


class Heard(SilentReporter):
    def __init__(self):
        self.warned = []

    def warn(self, text):
        self.warned.append(text)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A data set, and two evaluated runs on it that differ."""
    folder = tmp_path_factory.mktemp("report")
    draw_lvis(folder / "data", val=24, classes=8)
    evaluated_run(folder / "base", folder / "data", seed=0, skill=0.5)
    settings = {"train": {"lr": 0.5}, "method": {"roi": {"samples": 77}}}
    evaluated_run(folder / "better", folder / "data", seed=1, skill=0.55, settings=settings)
    return folder


@pytest.fixture
def own(world, tmp_path):
    """The same, to change."""
    for name in ("base", "better"):
        shutil.copytree(world / name, tmp_path / name)
    return tmp_path


def write(folder, *names, heard=None, **options):
    runs = [str(folder / name) for name in names]
    written = report(runs, folder / "out.html", reporter=heard or SilentReporter(), **options)
    return written, (folder / "out.html").read_text(encoding="utf-8")


def records(run, name):
    return json.loads((run / "eval-val" / f"{name}.json").read_text())


def shown(value, sign=False):
    return f"{value:{'+' if sign else ''}.1f}".replace("-", "−")


@pytest.fixture(scope="module")
def two(world, tmp_path_factory):
    out = tmp_path_factory.mktemp("page") / "report.html"
    written = report([str(world / "base"), str(world / "better")], out, pictures=10, reporter=SilentReporter())
    return written, out.read_text(encoding="utf-8")


def test_the_headline_is_that_of_the_metrics(world, two):
    head, *rows = Page(two[1]).tables["headline"]
    names = [cell.text for cell in head]
    assert names[2:11] == ["AP", "AP50", "AP75", "APs", "APm", "APl", "APr", "APc", "APf"]
    first = records(world / "base", "metrics")["metrics"]
    for run, row in zip(("base", "better"), rows, strict=True):
        metrics = records(world / run, "metrics")["metrics"]
        assert row[0].text.strip() == run
        assert row[1].text == "500"
        for name, cell in zip(names[2:], row[2:], strict=True):
            if metrics[name] is None:
                assert cell == ("–", None)
                continue
            assert float(cell.value) == metrics[name]
            gain = shown(metrics[name] - first[name], sign=True) if run == "better" else ""
            assert cell.text == shown(metrics[name]) + gain


def test_the_class_table_is_that_of_the_records(world, two):
    head, *rows = Page(two[1]).tables["class-table"]
    assert [c.text for c in head][:5] == ["class", "group", "AP, base", "AP, better", "gain, better"]
    tables = [{c["name"]: c for c in records(world / run, "per_class")["classes"]} for run in ("base", "better")]
    assert len(rows) == len(tables[0]) == 8
    for row in rows:
        a, b = (table[row[0].text] for table in tables)
        assert [float(cell.value) for cell in row[2:5]] == [a["AP"], b["AP"], b["AP"] - a["AP"]]
        assert row[1].text == {"r": "rare", "c": "common", "f": "frequent"}[a["group"]]
        assert [cell.text for cell in row[5:7]] == [str(a["train_images"]), str(a["objects"])]
    order = [("rcf".index(tables[1][row[0].text]["group"]), tables[1][row[0].text]["AP"]) for row in rows]
    assert order == sorted(order), "rare and low first"


def test_winners_and_losers_by_a_plain_loop(world, two):
    page = Page(two[1])
    before = {c["name"]: c["AP"] for c in records(world / "base", "per_class")["classes"]}
    after = {c["name"]: c["AP"] for c in records(world / "better", "per_class")["classes"]}
    gains = sorted(((after[n] - before[n], n) for n in before), reverse=True)
    tables = [page.tables[name] for name in ("winners-1", "losers-1")]
    winners, losers = ([(row[0].text, float(row[1].value)) for row in rows[1:]] for rows in tables)
    assert winners == [(n, g) for g, n in gains if g > 0][:10]
    assert losers == [(n, g) for g, n in gains[::-1] if g < 0][:10]
    assert winners
    assert losers


def test_mistakes_and_confusions_are_those_of_the_records(world, two):
    page = Page(two[1])
    mistakes = [records(world / run, "mistakes") for run in ("base", "better")]
    rows = page.tables["costs"][1:]
    kinds = ["Cls", "Loc", "Both", "Dupe", "Bkg", "Miss"]
    for n, row in enumerate(rows[:2]):
        group = mistakes[n]["groups"]["all"]
        assert float(row[2].value) == group["AP50"]
        assert [float(cell.value) for cell in row[3:9]] == [group["dAP50"][kind] for kind in kinds]
        assert float(row[9].value) == 100 * group["objects"]["found"] / group["objects"]["all"]
    expected = {}
    for n, record in enumerate(mistakes):
        for c in record["classes"]:
            for other in c["taken_for"]:
                expected.setdefault((c["name"], other["name"]), [0, 0])[n] = other["objects"]
    rows = page.tables["confused"][1:]
    assert {(row[0].text, row[2].text): [int(row[4].value), int(row[6].value)] for row in rows} == expected
    groups = [float(row[1].value) for row in rows]
    assert groups == sorted(groups)


def test_settings_that_differ_and_no_others(two):
    head, *rows = Page(two[1]).tables["differences"]
    assert [cell.text for cell in head] == ["setting", "base", "better"]
    values = {row[0].text: (row[1].text, row[2].text) for row in rows}
    assert values.keys() == {"train.lr", "method.roi.samples"}
    assert values["train.lr"][1] == "0.5"
    assert values["method.roi.samples"][1] == "77"


def test_pictures_hold_the_boxes_and_no_picture_is_there_twice(world, two):
    written, text = two
    page = Page(text)
    images = [a for tag, a in page.tags if tag == "img"]
    assert written.pictures == len(images) == 10
    assert len({a["alt"] for a in images}) == 10
    assert all(a["src"].startswith("data:image/jpeg;base64,/9j/") for a in images)
    switches = [a["data-box"] for tag, a in page.tags if tag == "input" and "data-box" in a]
    drawn = [a["data-of"] for tag, a in page.tags if tag == "g" and "data-of" in a]
    assert switches
    assert sorted(drawn) == sorted(switches * 2), "each switch has a frame and a mark"
    objects = json.loads((world / "data" / "lvis_v1_val.json").read_text())["annotations"]
    for n, image in enumerate(images):
        number = int(image["alt"].split()[1])
        mine = [name for name in switches if name.startswith(f"p{n}o")]
        assert len(mine) == sum(a["image_id"] == number for a in objects)


def test_one_run_alone(world, tmp_path):
    written = report([str(world / "base")], tmp_path / "a.html", pictures=3, reporter=SilentReporter())
    page = Page((tmp_path / "a.html").read_text(encoding="utf-8"))
    assert written.runs == ("base",)
    assert written.size == (tmp_path / "a.html").stat().st_size
    sections = [a["id"] for tag, a in page.tags if tag == "section"]
    assert sections == ["runs", "counts", "precision", "mistakes", "confusions", "pictures", "classes", "losses"]
    head = [cell.text for cell in page.tables["class-table"][0]]
    assert head == ["class", "group", "AP", "train images", "objects", "AP50", "found, %"]


def test_the_same_bytes_again(world, two, tmp_path):
    report([str(world / "base"), str(world / "better")], tmp_path / "b.html", pictures=10, reporter=SilentReporter())
    assert (tmp_path / "b.html").read_text(encoding="utf-8") == two[1]


def test_it_says_how_large_it_is(two):
    written, text = two
    assert f"{len(text.encode()) / 1e6:.1f} MB" in text.rpartition("<footer>")[2]
    assert written.size == len(text.encode())


HOSTILE = '</script><img src=x onerror="alert(1)">'


def test_hostile_names_are_texts(tmp_path):
    data = draw_lvis(tmp_path / "data", val=24)
    for split in ("train", "val"):
        file = data / f"lvis_v1_{split}.json"
        content = json.loads(file.read_text())
        for n, category in enumerate(content["categories"]):
            category["name"] = f"{HOSTILE}{n}<!--"
        file.write_text(json.dumps(content))
    name = "<script>alert(2)< &amp;'\""
    evaluated_run(tmp_path / name, data, seed=0)
    evaluated_run(tmp_path / "b", data, seed=1, settings={"device": "<b>\u2028"})
    _, text = write(tmp_path, name, "b")
    page = Page(text)
    assert [a for a, _ in page.scripts] == [{"type": "application/json", "id": "data"}, {}]
    assert json.loads(page.scripts[0][1])["names"][0] == f"{HOSTILE}0<!--"
    assert not [a for _, a in page.tags if any(key.startswith("on") for key in a)]
    assert all(a["src"].startswith("data:") for tag, a in page.tags if tag == "img")
    assert page.tables["class-table"][1][0].text.startswith(HOSTILE)
    assert page.tables["headline"][1][0].text.strip() == name
    assert "<!--" not in text


def test_coco_data_and_groups_from_training(tmp_path):
    data = draw_coco(tmp_path / "data", val=10)
    evaluated_run(tmp_path / "a", data, seed=0)
    evaluated_run(tmp_path / "b", data, seed=1, skill=0.9)
    written, text = write(tmp_path, "a", "b", pictures=5)
    assert written.pictures == 5
    assert "COCO protocol" in text


def test_a_run_without_evaluation_says_what_to_type(own):
    shutil.rmtree(own / "better" / "eval-val")
    with pytest.raises(DataError, match="has not been evaluated") as error:
        write(own, "base", "better")
    assert error.value.hint == f"clis eval {own / 'better'} --split val"
    with pytest.raises(DataError) as error:
        write(own, "base", split="train")
    assert error.value.hint == f"clis eval {own / 'base'} --split train"
    with pytest.raises(CheckpointError, match="no run"):
        write(own, "nothing")


def test_an_evaluation_of_an_older_clis(own):
    (own / "base" / "eval-val" / "mistakes.json").unlink()
    with pytest.raises(DataError, match="older clis") as error:
        write(own, "base")
    assert error.value.hint == f"clis eval {own / 'base'} --split val"


def change(path, edit):
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("file", "edit", "words"),
    [
        ("per_class", lambda c: c.update(protocol="coco"), "LVIS protocol, the other by COCO"),
        ("mistakes", lambda c: c.update(score_cut=0.2), "from a score of 0.05 on, and of 0.2"),
        ("per_class", lambda c: c["classes"][1].update(name="else"), "in one, class 9 'else'"),
        ("per_class", lambda c: c["classes"][1].update(objects=1000), "1000 in"),
    ],
)
def test_runs_on_different_data_are_refused(own, file, edit, words):
    change(own / "better" / "eval-val" / f"{file}.json", edit)
    with pytest.raises(DataError, match="cannot be compared") as error:
        write(own, "base", "better")
    assert words in error.value.message
    assert "clis eval" in error.value.hint
    assert not (own / "out.html").exists()


def test_files_of_other_classes_are_refused(own, tmp_path):
    evaluated_run(tmp_path / "other", draw_lvis(tmp_path / "more", classes=5))
    with pytest.raises(DataError, match="8 classes, the other 5"):
        write(own, "base", "other")


def test_equal_counts_are_not_equal_files(world, own, tmp_path):
    moved = shutil.copytree(world / "data", tmp_path / "moved")
    evaluated_run(tmp_path / "same", moved, seed=2)
    assert write(own, "base", "same")[0].runs == ("base", "same"), "a copy is the same data"
    change(moved / "lvis_v1_val.json", lambda c: c["annotations"][0]["bbox"].__setitem__(0, 1.5))
    with pytest.raises(DataError, match="differ"):
        write(own, "base", "same")


def test_data_that_moved(world, own, tmp_path):
    moved = shutil.copytree(world / "data", tmp_path / "moved")
    for name in ("per_class", "mistakes"):
        change(own / "base" / "eval-val" / f"{name}.json", lambda c: c.update(ground_truth="/nowhere/val.json"))
    with pytest.raises(DataError, match="The ground truth is gone") as error:
        write(own, "base")
    assert "--data" in error.value.hint
    assert write(own, "base", data=moved, pictures=4)[0].pictures == 4
    shutil.rmtree(moved / "val2017")
    with pytest.raises(DataError, match="not found") as error:
        write(own, "base", data=moved)
    assert "--pictures 0" in error.value.hint
    assert write(own, "base", data=moved, pictures=0)[0].pictures == 0
    change(moved / "lvis_v1_val.json", lambda c: c["annotations"].pop())
    with pytest.raises(DataError, match="is not what"):
        write(own, "base", data=moved, pictures=0)
    with pytest.raises(DataError):
        write(own, "base", data=tmp_path / "none")


def test_a_config_of_an_older_clis_and_unturned_pixels(world, own, tmp_path):
    config = own / "base" / "config.toml"
    config.write_text(config.read_text().replace("exif = true", "exif = false") + "\n[gone]\nkey = 3\n")
    moved = shutil.copytree(world / "data", tmp_path / "moved")
    for file in [*moved.glob("val2017/*.jpg"), *moved.glob("train2017/*.jpg")]:
        image = Image.open(file)
        turned = Image.Exif()
        turned[0x0112] = 6  # by 90 degrees, so that the size would be another
        image.save(file, exif=turned)
    written, text = write(own, "base", "better", data=moved, pictures=3)
    assert written.pictures == 3
    values = {row[0].text: [cell.text for cell in row[1:]] for row in Page(text).tables["differences"][1:]}
    assert values["gone.key"] == ["3", "–"]
    assert values["data.exif"] == ["false", "true"]


def test_an_evaluation_without_detections_and_one_of_a_file(world, own):
    evaluation_of(own / "judged", world / "data", 5, 0.7)
    evaluation_of(own / "better" / "model.onnx.eval-val", world / "data", 6, 0.7)
    (own / "judged" / "detections.npz").unlink()
    heard = Heard()
    written, text = write(own, "base", "better/model.onnx", "judged", heard=heard, pictures=4)
    assert written.runs == ("base", "model.onnx", "judged")
    assert written.pictures == 4
    assert "Without detections on disk: judged." in text
    assert "Without a log: judged." in text
    assert heard.warned == []
    written, text = write(own, "judged", heard=heard)
    assert written.pictures == 0
    assert ["no detections on disk" in w for w in heard.warned] == [True]


def test_too_many_runs_and_one_twice(own):
    with pytest.raises(ConfigError, match="named twice"):
        write(own, "base", "better", "base")
    with pytest.raises(ConfigError, match="9 runs"):
        write(own, *["base"] * 9)


@pytest.mark.parametrize("name", ["metrics", "per_class", "mistakes"])
@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"version": "x"}', "\x00"])
def test_damaged_records_are_told_by_file(own, name, content):
    (own / "base" / "eval-val" / f"{name}.json").write_text(content)
    with pytest.raises(DataError, match=f"{name}.json") as error:
        write(own, "base")
    assert error.value.hint


def test_records_of_a_newer_version_and_of_another_evaluation(own):
    file = own / "base" / "eval-val" / "mistakes.json"
    change(file, lambda c: c.update(version=2))
    with pytest.raises(DataError, match="version 2"):
        write(own, "base")
    change(file, lambda c: c.update(version=1, classes=c["classes"][1:]))
    with pytest.raises(DataError, match="not of one evaluation"):
        write(own, "base")


def test_a_failed_report_leaves_the_page_before_it(own):
    _, before = write(own, "base", pictures=1)
    (own / "base" / "eval-val" / "detections.npz").write_bytes(b"PK")
    with pytest.raises(DataError, match="no whole file"):
        write(own, "base")
    assert (own / "out.html").read_text(encoding="utf-8") == before
    assert sorted(p.name for p in own.iterdir()) == ["base", "better", "out.html"]


def test_a_log_that_was_cut_short(tmp_path):
    file = tmp_path / "log.jsonl"
    assert list(read_log(file)) == []
    file.write_bytes(b'{"kind": "train", "step": 1, "loss": 2.0}\n{"kind": "info"}\n[3]\n\xff\n{"kind": "train", "st')
    assert list(read_log(file)) == [{"kind": "train", "step": 1, "loss": 2.0}]


def test_names_are_told_apart_by_the_folders_above(world, tmp_path):
    folders = [tmp_path / "x" / "runs" / "a", tmp_path / "y" / "runs" / "a", tmp_path / "b"]
    assert distinct_titles(["a", "a", "b"], folders) == ["x/runs/a", "y/runs/a", "b"]
    assert distinct_titles(["a", "b"], folders[1:]) == ["a", "b"]


def test_what_a_word_means(world):
    title, folder, run = find_evaluation(str(world / "base"), None, "val")
    assert (title, folder, run) == ("base", world / "base" / "eval-val", world / "base")
    title, folder, run = find_evaluation(str(folder), None, "val")
    assert (title, folder, run) == ("eval-val", world / "base" / "eval-val", None)
    with pytest.raises(DataError) as error:
        find_evaluation(str(world / "base" / "model.onnx"), None, "train")
    assert error.value.hint == f"clis eval {world / 'base' / 'model.onnx'} --split train"
