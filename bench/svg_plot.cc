#include "bench/svg_plot.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <iterator>
#include <set>

namespace fedglm::bench {
namespace {

constexpr double kWidth = 720, kLeft = 190, kRight = 70, kTop = 44, kBottom = 44;
constexpr double kPlotWidth = kWidth - kLeft - kRight;
constexpr size_t kMostMarked = 40;  // points of a series that are drawn one by one
constexpr double kBarStep = 26, kBarHeight = 16, kLineHeight = 240;
constexpr const char* kColors[] = {"#2563eb", "#d97706", "#059669", "#dc2626", "#7c3aed", "#475569"};

std::string Number(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.4g", value);
  return text;
}

// For people: no exponent where there is room for the digits.
std::string Figure(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), value >= 1e4 && value < 1e9 ? "%.0f" : "%.4g", value);
  return text;
}

std::string Escaped(const std::string& text) {
  std::string escaped;
  for (const char c : text) {
    switch (c) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      default:
        escaped += c;
    }
  }
  return escaped;
}

// "start", "middle", "end": where (x, y) lies in the text.
std::string Text(double x, double y, const char* anchor, const std::string& text, const char* style = "") {
  return "<text x=\"" + Number(x) + "\" y=\"" + Number(y) + "\" text-anchor=\"" + anchor + "\"" + style + ">" +
         Escaped(text) + "</text>\n";
}

std::string Line(double x1, double y1, double x2, double y2, const char* stroke, const char* style = "") {
  return "<line x1=\"" + Number(x1) + "\" y1=\"" + Number(y1) + "\" x2=\"" + Number(x2) + "\" y2=\"" + Number(y2) +
         "\" stroke=\"" + stroke + "\"" + style + "/>\n";
}

std::string Title(double y, const std::string& title) {
  return Text(kLeft + kPlotWidth / 2, y + 24, "middle", title, " font-size=\"15\" font-weight=\"bold\"");
}

// Round steps: 1, 2 or 5 times a power of ten, about five of them up to `maximum`.
std::vector<double> Ticks(double maximum) {
  if (!(maximum > 0) || !std::isfinite(maximum)) return {0, 1};
  const double rough = maximum / 5, power = std::pow(10, std::floor(std::log10(rough)));
  const double step = power * (rough / power <= 1 ? 1 : rough / power <= 2 ? 2 : rough / power <= 5 ? 5 : 10);
  std::vector<double> ticks;
  const int last = static_cast<int>(std::ceil(maximum / step - 1e-9));
  for (int i = 0; i <= last; ++i) ticks.push_back(i * step);
  return ticks;
}

double HeightOf(const BarPanel& panel) { return kTop + kBarStep * static_cast<double>(panel.bars.size()) + kBottom; }
double HeightOf(const LinePanel&) { return kTop + kLineHeight + kBottom; }

std::string Draw(const BarPanel& panel, double top) {
  double maximum = panel.reference.value_or(0);
  for (const Bar& bar : panel.bars) maximum = std::max({maximum, bar.value, bar.mark.value_or(0)});
  const std::vector<double> ticks = Ticks(maximum);
  const auto x_of = [&](double value) { return kLeft + kPlotWidth * value / ticks.back(); };
  const double first = top + kTop, bottom = first + kBarStep * static_cast<double>(panel.bars.size());
  std::string svg = Title(top, panel.title);
  for (const double tick : ticks) {
    svg += Line(x_of(tick), first, x_of(tick), bottom, "#e5e7eb");
    svg += Text(x_of(tick), bottom + 16, "middle", Figure(tick));
  }
  svg += Text(kLeft + kPlotWidth / 2, bottom + 34, "middle", panel.value_label);
  for (size_t i = 0; i < panel.bars.size(); ++i) {
    const Bar& bar = panel.bars[i];
    const double y = first + kBarStep * static_cast<double>(i) + (kBarStep - kBarHeight) / 2;
    const double end = x_of(std::max(0.0, bar.value));
    svg += Text(kLeft - 8, y + 13, "end", bar.label);
    svg += "<rect x=\"" + Number(kLeft) + "\" y=\"" + Number(y) + "\" width=\"" + Number(end - kLeft) + "\" height=\"" +
           Number(kBarHeight) + "\" fill=\"" + kColors[0] + "\"/>\n";
    double text_x = end;
    if (bar.mark) {
      svg += Line(x_of(*bar.mark), y - 3, x_of(*bar.mark), y + kBarHeight + 3, kColors[1], " stroke-width=\"3\"");
      if (x_of(*bar.mark) >= end && x_of(*bar.mark) < end + 50) text_x = x_of(*bar.mark);
    }
    svg += Text(text_x + 6, y + 13, "start", Figure(bar.value));
  }
  if (panel.reference) {
    svg += Line(x_of(*panel.reference), first, x_of(*panel.reference), bottom, "#111827", " stroke-dasharray=\"4 3\"");
  }
  return svg;
}

std::string Draw(const LinePanel& panel, double top) {
  double x_maximum = 0, y_maximum = 0, x_minimum = 0;
  std::set<double> xs;
  for (const Series& series : panel.series) {
    for (const Series::Point& point : series.points) {
      xs.insert(point.x);
      y_maximum = std::max(y_maximum, point.y);
    }
  }
  if (panel.mark) xs.insert(panel.mark->x);
  if (!xs.empty()) x_maximum = *xs.rbegin();
  if (!xs.empty() && panel.logarithmic_x) x_minimum = *xs.begin();
  const std::vector<double> y_ticks = Ticks(y_maximum);
  std::vector<double> x_ticks = panel.logarithmic_x ? std::vector<double>(xs.begin(), xs.end()) : Ticks(x_maximum);
  const double x_end = panel.logarithmic_x ? x_maximum : x_ticks.back();
  const double first = top + kTop, bottom = first + kLineHeight;
  const auto x_of = [&](double x) {
    if (!panel.logarithmic_x) return kLeft + kPlotWidth * x / x_end;
    const double span = std::log2(x_end / x_minimum);
    return kLeft + (span > 0 ? kPlotWidth * std::log2(x / x_minimum) / span : kPlotWidth / 2);
  };
  const auto y_of = [&](double y) { return bottom - kLineHeight * y / y_ticks.back(); };

  std::string svg = Title(top, panel.title);
  for (const double tick : y_ticks) {
    svg += Line(kLeft, y_of(tick), kLeft + kPlotWidth, y_of(tick), "#e5e7eb");
    svg += Text(kLeft - 8, y_of(tick) + 4, "end", Figure(tick));
  }
  for (const double tick : x_ticks) svg += Text(x_of(tick), bottom + 16, "middle", Figure(tick));
  svg += Text(kLeft + kPlotWidth / 2, bottom + 34, "middle", panel.x_label);
  svg += Text(kLeft - 8, first - 14, "end", panel.y_label);
  if (panel.mark) {
    svg += Line(x_of(panel.mark->x), first, x_of(panel.mark->x), bottom, "#111827", " stroke-dasharray=\"4 3\"");
    // At the right edge there is no room to the right of the line.
    const bool at_the_edge = x_of(panel.mark->x) > kLeft + 0.8 * kPlotWidth;
    svg += Text(x_of(panel.mark->x) + (at_the_edge ? -5 : 5), first + 12, at_the_edge ? "end" : "start",
                panel.mark->label);
  }
  for (size_t i = 0; i < panel.series.size(); ++i) {
    const Series& series = panel.series[i];
    const char* const color = kColors[i % std::size(kColors)];
    const bool marked = series.points.size() <= kMostMarked;
    std::string path;
    for (const Series::Point& point : series.points) {
      path += Number(x_of(point.x)) + "," + Number(y_of(point.y)) + " ";
      if (!marked) continue;
      svg += "<circle cx=\"" + Number(x_of(point.x)) + "\" cy=\"" + Number(y_of(point.y)) + "\" r=\"3.5\" fill=\"" +
             color + "\"/>\n";
    }
    svg += "<polyline points=\"" + path + "\" fill=\"none\" stroke=\"" + color + "\" stroke-width=\"" +
           (marked ? "2" : "1") + "\"/>\n";
    if (panel.series.size() == 1) {
      if (!marked) continue;
      // Its figures instead of a legend, on white where they cross a line
      for (const Series::Point& point : series.points) {
        const double above = y_of(point.y) - 9;
        svg += Text(x_of(point.x), above, "middle", Figure(point.y), " stroke=\"white\" stroke-width=\"5\"");
        svg += Text(x_of(point.x), above, "middle", Figure(point.y));
      }
      continue;
    }
    const double y = first + 12 + 18 * static_cast<double>(i);
    svg += Line(16, y - 4, 34, y - 4, color, " stroke-width=\"3\"");
    svg += Text(40, y, "start", series.name);
  }
  return svg;
}

}  // namespace

std::string SvgDocument(const std::vector<Panel>& panels) {
  std::string body;
  double height = 0;
  for (const Panel& panel : panels) {
    std::visit(
        [&](const auto& drawn) {
          body += Draw(drawn, height);
          height += HeightOf(drawn);
        },
        panel);
  }
  return "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"" + Number(kWidth) + "\" height=\"" + Number(height) +
         "\" viewBox=\"0 0 " + Number(kWidth) + " " + Number(height) +
         "\" font-family=\"sans-serif\" font-size=\"12\" fill=\"#111827\">\n<rect width=\"100%\" height=\"100%\" "
         "fill=\"white\"/>\n" +
         body + "</svg>\n";
}

}  // namespace fedglm::bench
