#include "exporters/prometheus/self_collector.h"

#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>

#include <fstream>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <utility>

#include "exporters/prometheus/cgroup_memory.h"
#include "exporters/prometheus/single_family.h"

namespace goheapd::exporters::prometheus_text {
namespace {

using prometheus::MetricFamily;
using prometheus::MetricType;

double seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
}

// Unix time of this process's start: boot time plus field 22 of /proc/self/stat, in clock ticks.
std::optional<double> start_time() {
  std::ifstream stat("/proc/self/stat");
  std::string text((std::istreambuf_iterator<char>(stat)), std::istreambuf_iterator<char>());
  const auto name_end = text.rfind(')');  // the name before it may have spaces
  if (name_end == std::string::npos) return std::nullopt;
  std::istringstream fields(text.substr(name_end + 1));
  std::string skipped;
  for (int field = 3; field < 22; ++field) fields >> skipped;
  double ticks = 0;
  if (!(fields >> ticks)) return std::nullopt;

  std::ifstream system("/proc/stat");
  for (std::string word; system >> word;) {
    double boot_time = 0;
    if (word == "btime" && system >> boot_time) {
      return boot_time + ticks / static_cast<double>(::sysconf(_SC_CLK_TCK));
    }
  }
  return std::nullopt;
}

std::optional<double> open_descriptors() {
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir("/proc/self/fd"), &::closedir);
  if (!directory) return std::nullopt;
  int count = 0;
  // NOLINTNEXTLINE(concurrency-mt-unsafe): nobody else has this DIR
  while (const dirent* entry = ::readdir(directory.get())) count += entry->d_name[0] != '.' ? 1 : 0;
  return count - 1;  // without the one that we look through
}

}  // namespace

std::vector<MetricFamily> SelfCollector::Collect() const {
  std::vector<MetricFamily> families;
  rusage usage{};
  if (::getrusage(RUSAGE_SELF, &usage) == 0) {
    families.push_back(single_family("process_cpu_seconds_total",
                                     "User and system CPU time that goheapd itself used.",
                                     MetricType::Counter, seconds(usage.ru_utime) + seconds(usage.ru_stime)));
  }
  const auto page = static_cast<double>(::sysconf(_SC_PAGESIZE));
  std::ifstream statm("/proc/self/statm");
  double virtual_pages = 0;
  double resident_pages = 0;
  if (statm >> virtual_pages >> resident_pages) {
    families.push_back(single_family("process_virtual_memory_bytes", "Virtual memory of goheapd itself.",
                                     MetricType::Gauge, virtual_pages * page));
    families.push_back(single_family("process_resident_memory_bytes", "Resident memory of goheapd itself.",
                                     MetricType::Gauge, resident_pages * page));
  }
  if (const auto count = open_descriptors()) {
    families.push_back(single_family("process_open_fds", "Open file descriptors of goheapd itself.",
                                     MetricType::Gauge, *count));
  }
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    families.push_back(single_family("process_max_fds", "Limit of open file descriptors of goheapd itself.",
                                     MetricType::Gauge, static_cast<double>(limit.rlim_cur)));
  }
  const CgroupMemory memory = cgroup_memory();
  if (memory.limit) {
    families.push_back(
        single_family("goheapd_memory_limit_bytes",
                      "Memory that the cgroups of goheapd let it use; not there if they set no limit.",
                      MetricType::Gauge, static_cast<double>(*memory.limit)));
  }
  if (memory.usage) {
    families.push_back(single_family(
        "goheapd_memory_usage_bytes",
        "Memory charged to the cgroup that sets this limit, or else to goheapd's own: with BPF maps, without "
        "inactive pages of files; not there in the root group.",
        MetricType::Gauge, static_cast<double>(*memory.usage)));
  }
  static const std::optional<double> kStart = start_time();
  if (kStart) {
    families.push_back(single_family("process_start_time_seconds",
                                     "Start of goheapd itself, in seconds since 1970.", MetricType::Gauge,
                                     *kStart));
  }
  return families;
}

}  // namespace goheapd::exporters::prometheus_text
