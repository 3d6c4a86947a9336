import pytest

from proxyd.config.cpus import usable_cpus


@pytest.fixture
def cgroups(tmp_path):
    """Write a hierarchy: quotas by folder, and the groups of this process."""

    def write(own, **files):
        (tmp_path / "own").write_text(own)
        for path, text in files.items():
            file = tmp_path / "fs" / path.replace("__", "/").replace("_max", ".max")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        return {"cgroups": tmp_path / "fs", "own": tmp_path / "own"}

    return write


def test_without_quotas_the_affinity_counts(cgroups):
    assert usable_cpus(4, **cgroups("0::/a\n", a__cpu_max="max 100000\n")) == 4


def test_a_fraction_of_a_cpu_counts_as_one(cgroups):
    assert usable_cpus(8, **cgroups("0::/a\n", a__cpu_max="150000 100000\n")) == 2
    assert usable_cpus(8, **cgroups("0::/a\n", a__cpu_max="10000 100000\n")) == 1


def test_the_tightest_group_above_counts(cgroups):
    assert usable_cpus(8, **cgroups("0::/a/b/c\n", a__cpu_max="300000 100000", a__b__c__cpu_max="500000 100000")) == 3


def test_a_container_sees_its_own_quota_at_the_root(cgroups):
    assert usable_cpus(8, **cgroups("0::/\n", cpu_max="200000 100000")) == 2


def test_the_first_version_of_cgroups(tmp_path):
    folder = tmp_path / "fs" / "cpu" / "a"
    folder.mkdir(parents=True)
    (folder / "cpu.cfs_quota_us").write_text("200000\n")
    (folder / "cpu.cfs_period_us").write_text("100000\n")
    (tmp_path / "own").write_text("4:cpu,cpuacct:/a\n3:memory:/b\n")
    assert usable_cpus(8, tmp_path / "fs", tmp_path / "own") == 2
    (folder / "cpu.cfs_quota_us").write_text("-1\n")
    assert usable_cpus(8, tmp_path / "fs", tmp_path / "own") == 8


def test_nothing_to_read_is_no_mistake(tmp_path):
    assert usable_cpus(3, tmp_path / "none", tmp_path / "none") == 3
    assert usable_cpus() >= 1
