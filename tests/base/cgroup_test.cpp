// Limits of control groups, in made-up trees of files as kernels lay them out.
#include "base/cgroup.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "base/available_memory.h"

namespace cachalot {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kGiB = int64_t{1} << 30;

class Cgroup : public testing::Test {
 protected:
  Cgroup() {
    std::string name = (fs::temp_directory_path() / "cachalot-test-XXXXXX").string();
    if (!::mkdtemp(name.data())) throw std::runtime_error("mkdtemp");
    root_ = name;
  }
  ~Cgroup() override {
    std::error_code code;
    fs::remove_all(root_, code);
  }
  void write(const fs::path& file, const std::string& text) const {
    fs::create_directories((root_ / file).parent_path());
    std::ofstream(root_ / file) << text << '\n';
  }
  void write(const fs::path& file, int64_t number) const { write(file, std::to_string(number)); }
  // Version 2 alone, and this process in `group`.
  void unified(const std::string& group, const std::string& top = "/") const {
    write("proc/self/mountinfo", "22 28 0:21 / /proc rw shared:12 - proc proc rw\n30 23 0:26 " + top +
                                     " /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate");
    write("proc/self/cgroup", "0::" + group);
  }
  // Version 1 with a hierarchy for each of the two controllers.
  void separate(const std::string& group, const std::string& top = "/") const {
    const std::string seen = " " + top + " /sys/fs/cgroup/";
    write("proc/self/mountinfo", "31 23 0:28 / /sys/fs/cgroup ro - tmpfs tmpfs ro,mode=755\n32 31 0:29" + seen +
                                     "cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n35 31 0:32" + seen +
                                     "memory rw shared:10 - cgroup cgroup rw,memory\n41 31 0:38 / "
                                     "/sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw");
    write("proc/self/cgroup", "9:name=systemd:/\n4:memory:" + group + "\n2:cpu,cpuacct:" + group + "\n0::/");
  }

  fs::path root_;
};

TEST_F(Cgroup, WithoutGroupsNothingIsLimited) {
  EXPECT_EQ(cgroup_available_bytes(root_), std::nullopt);
  EXPECT_EQ(cgroup_cpus(root_), INFINITY);
}

TEST_F(Cgroup, TheTightestOfNestedGroupsCounts) {
  unified("/work.slice/job.scope");
  write("sys/fs/cgroup/work.slice/job.scope/memory.max", "max");
  write("sys/fs/cgroup/work.slice/job.scope/memory.current", kGiB);
  write("sys/fs/cgroup/work.slice/memory.max", 8 * kGiB);
  write("sys/fs/cgroup/work.slice/memory.current", 5 * kGiB);
  write("sys/fs/cgroup/work.slice/memory.stat", "anon 1\ninactive_file 1073741824\nactive_file 1073741824\nslab 9");
  EXPECT_EQ(cgroup_available_bytes(root_), 5 * kGiB) << "8 less 5, 2 of which are page cache";
  write("sys/fs/cgroup/work.slice/job.scope/memory.high", 2 * kGiB);
  EXPECT_EQ(cgroup_available_bytes(root_), kGiB);

  write("sys/fs/cgroup/cpu.max", "max 100000");
  EXPECT_EQ(cgroup_cpus(root_), INFINITY);
  write("sys/fs/cgroup/work.slice/cpu.max", "150000 100000");
  EXPECT_EQ(cgroup_cpus(root_), 1.5);
  write("sys/fs/cgroup/work.slice/job.scope/cpu.max", "40000 10000");
  EXPECT_EQ(cgroup_cpus(root_), 1.5);
}

TEST_F(Cgroup, AGroupThatHoldsMoreThanItsLimitHasNothingLeft) {
  unified("/");
  write("sys/fs/cgroup/memory.max", kGiB);
  write("sys/fs/cgroup/memory.current", 2 * kGiB);
  EXPECT_EQ(cgroup_available_bytes(root_), 0);
}

TEST_F(Cgroup, Version1HasAHierarchyPerController) {
  separate("/docker/abc");
  write("sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes", 3 * kGiB);
  write("sys/fs/cgroup/memory/docker/abc/memory.usage_in_bytes", 2 * kGiB);
  write("sys/fs/cgroup/memory/docker/abc/memory.stat",
        "inactive_file 7\nactive_file 7\ntotal_inactive_file 1073741824\ntotal_active_file 0");
  write("sys/fs/cgroup/memory/memory.limit_in_bytes", 9223372036854771712);
  EXPECT_EQ(cgroup_available_bytes(root_), 2 * kGiB);
  write("sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_quota_us", -1);
  write("sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_period_us", 100000);
  EXPECT_EQ(cgroup_cpus(root_), INFINITY);
  write("sys/fs/cgroup/cpu,cpuacct/docker/cpu.cfs_quota_us", 250000);
  write("sys/fs/cgroup/cpu,cpuacct/docker/cpu.cfs_period_us", 100000);
  EXPECT_EQ(cgroup_cpus(root_), 2.5);
}

TEST_F(Cgroup, AGroupOfVersion1MayLeaveThoseBelowToThemselves) {
  separate("/a/b");
  write("sys/fs/cgroup/memory/a/b/memory.limit_in_bytes", 4 * kGiB);
  write("sys/fs/cgroup/memory/a/memory.limit_in_bytes", kGiB);
  write("sys/fs/cgroup/memory/a/memory.use_hierarchy", 0);
  EXPECT_EQ(cgroup_available_bytes(root_), 4 * kGiB);
  write("sys/fs/cgroup/memory/a/memory.use_hierarchy", 1);
  EXPECT_EQ(cgroup_available_bytes(root_), kGiB);
}

// Without a namespace of its own a container sees the host's paths, and its own group at the top of the mount.
TEST_F(Cgroup, AContainerSeesItsGroupAtTheTopOfTheMount) {
  separate("/docker/abc/inner", "/docker/abc");
  write("sys/fs/cgroup/memory/memory.limit_in_bytes", 2 * kGiB);
  write("sys/fs/cgroup/memory/inner/memory.limit_in_bytes", kGiB);
  EXPECT_EQ(cgroup_available_bytes(root_), kGiB);
  for (const char* group : {"/../other", "/elsewhere"}) {  // seen from another group, or made before the namespace
    unified(group, group[1] == '.' ? "/" : "/kubepods/pod");
    write("sys/fs/cgroup/memory.max", 3 * kGiB);
    EXPECT_EQ(cgroup_available_bytes(root_), 3 * kGiB) << group;
  }
}

TEST_F(Cgroup, AMountPointMayHaveSpaces) {
  write("proc/self/mountinfo", "30 23 0:26 / /my\\040groups rw - cgroup2 cgroup2 rw");
  write("proc/self/cgroup", "0::/");
  write("my groups/memory.max", kGiB);
  EXPECT_EQ(cgroup_available_bytes(root_), kGiB);
}

TEST_F(Cgroup, AvailableMemoryIsTheLeastOfWhatTheSystemTheGroupAndTheProcessHave) {
  unified("/");
  write("proc/meminfo",
        "MemTotal:  16777216 kB\nMemFree:  1024 kB\nMemAvailable:  8388608 kB\nSwapFree: 99999999 kB");
  EXPECT_EQ(available_memory_bytes(root_), 8 * kGiB);
  write("sys/fs/cgroup/memory.max", 6 * kGiB);
  EXPECT_EQ(available_memory_bytes(root_), 6 * kGiB);
  const auto limits = [&](const std::string& data, const std::string& address) {
    write("proc/self/limits", "Limit  Soft Limit  Hard Limit  Units\nMax data size             " + data +
                                  "  unlimited bytes\nMax address space         " + address + "  unlimited bytes");
  };
  write("proc/self/status", "Name:\tcachalot\nVmSize:\t 1048576 kB\nVmData:\t 524288 kB");
  limits("unlimited", "unlimited");
  EXPECT_EQ(available_memory_bytes(root_), 6 * kGiB);
  limits("unlimited", std::to_string(5 * kGiB));
  EXPECT_EQ(available_memory_bytes(root_), 4 * kGiB) << "5 less 1 that is mapped";
  limits(std::to_string(kGiB), std::to_string(5 * kGiB));
  EXPECT_EQ(available_memory_bytes(root_), kGiB / 2);
}

}  // namespace
}  // namespace cachalot
