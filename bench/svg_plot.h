// Plots as SVG text: panels of bars or lines, one below the other. Axes are linear and begin at zero.
#pragma once

#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace fedglm::bench {

struct Bar {
  std::string label;
  double value = 0;            // not negative; its figure is written at the bar's end
  std::optional<double> mark;  // a tick across the bar: what is to be reached
};

// Horizontal bars, one a line.
struct BarPanel {
  std::string title;
  std::string value_label;  // with its unit: "decode, tokens/s"
  std::vector<Bar> bars;
  std::optional<double> reference;  // a line through all bars: the peer's 1.0
};

struct Series {
  std::string name;
  struct Point {
    double x, y;
  };
  std::vector<Point> points;  // by ascending x
};

// One series has its figures beside its points, several have a legend. A series of more than 40 points is a line alone.
struct LinePanel {
  std::string title, x_label, y_label;
  std::vector<Series> series;
  bool logarithmic_x = false;  // base 2, ticks at the points: for thread counts. x > 0 then
  struct Mark {
    double x;
    std::string label;
  };
  std::optional<Mark> mark;  // a vertical line: the machine's number of cores
};

using Panel = std::variant<BarPanel, LinePanel>;

// A whole document. Labels may hold any UTF-8 text; it is escaped.
std::string SvgDocument(const std::vector<Panel>& panels);

}  // namespace fedglm::bench
