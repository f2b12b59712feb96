#include "inference/grammar/schema/number_range.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <vector>

namespace fedglm {
namespace {

using Integer = __int128;

// Of a bound: ten times it, with two decimals more, has 37 digits, and an Integer has room for 38.
constexpr int kMaxDigits = 28;
constexpr int kMaxDecimals = 6;
constexpr double kBeyondAll = 1e29;  // no number written here is that far from zero
constexpr Integer kFarthest = 999'999'999'999'999;

Integer PowerOfTen(int exponent) {
  Integer power = 1;
  for (; exponent > 0; --exponent) power *= 10;
  return power;
}

// value = units / 10^decimals
struct Decimal {
  Integer units = 0;
  int decimals = 0;
};

// From the shortest decimal text of a JSON number.
absl::StatusOr<Decimal> ToDecimal(const Json& number) {
  const std::string text = DumpJson(number);
  Decimal decimal;
  int digits = 0, exponent = 0;
  bool after_point = false;
  for (size_t i = text[0] == '-' ? 1 : 0; i < text.size(); ++i) {
    if (text[i] == '.') {
      after_point = true;
    } else if (text[i] == 'e') {
      exponent = std::atoi(text.c_str() + i + 1);
      break;
    } else if (std::isdigit(static_cast<unsigned char>(text[i])) != 0) {
      decimal.units = decimal.units * 10 + (text[i] - '0');
      decimal.decimals += after_point ? 1 : 0;
      digits += decimal.units != 0 ? 1 : 0;
    } else {
      return UsageError("a bound must be a number");
    }
  }
  decimal.decimals -= exponent;
  while (decimal.decimals > 0 && decimal.units % 10 == 0) {
    decimal.units /= 10;
    --decimal.decimals;
  }
  if (decimal.units == 0) decimal.decimals = 0;
  if (digits + std::max(-decimal.decimals, 0) > kMaxDigits || decimal.decimals > kMaxDecimals) {
    return UsageError("the bound " + text + " has too many digits");
  }
  for (; decimal.decimals < 0; ++decimal.decimals) decimal.units *= 10;
  if (text[0] == '-') decimal.units = -decimal.units;
  return decimal;
}

Integer FloorDivide(Integer a, Integer b) { return a / b - (a % b < 0 ? 1 : 0); }

// The smallest number of units of 10^-decimals that is within the bound as a minimum.
Integer LowestUnits(const Decimal& bound, bool exclusive, int decimals) {
  const int missing = decimals - bound.decimals;
  const Integer divisor = PowerOfTen(-missing);
  const Integer scaled = bound.units * PowerOfTen(missing);
  const Integer floor = FloorDivide(scaled, divisor);
  return exclusive || floor * divisor != scaled ? floor + 1 : floor;
}

Integer HighestUnits(const Decimal& bound, bool exclusive, int decimals) {
  return -LowestUnits({-bound.units, bound.decimals}, exclusive, decimals);
}

std::string ToDigits(Integer value, size_t at_least) {
  std::string digits;
  for (; value > 0; value /= 10) digits.insert(digits.begin(), static_cast<char>('0' + static_cast<int>(value % 10)));
  if (digits.size() < at_least) digits.insert(0, at_least - digits.size(), '0');
  return digits;
}

// Texts of digits between two of the same length, with a point before the digit at `point`.
class DigitRange {
 public:
  DigitRange(std::string low, std::string high, size_t point)
      : low_(std::move(low)), high_(std::move(high)), point_(point) {}
  std::string Write() const { return Between(0, true, true); }

 private:
  // The digits from `at` on; `above` and `below`: those so far are the lowest's, the highest's.
  std::string Between(size_t at, bool above, bool below) const {
    if (at == low_.size()) return "";
    if (!above && !below) return AnyDigits(at);
    const char low = above ? low_[at] : '0';
    const char high = below ? high_[at] : '9';
    if (low == high) return Point(at) + One(low, high) + Between(at + 1, above, below);
    std::vector<std::string> choices;
    char first = low, last = high;
    if (above) choices.push_back(One(low, low) + Between(at + 1, true, false)), ++first;
    if (below) choices.push_back(One(high, high) + Between(at + 1, false, true)), --last;
    if (first <= last) choices.push_back(One(first, last) + AnyDigits(at + 1));
    std::string text = Point(at) + " (";
    for (size_t i = 0; i < choices.size(); ++i) text += (i > 0 ? " |" : "") + choices[i];
    return text + ")";
  }
  std::string AnyDigits(size_t at) const {
    std::string text;
    if (at < point_) text += Some(std::min(point_, low_.size()) - at);
    if (at <= point_ && point_ < low_.size()) text += " \".\"";
    const size_t after = std::max(at, point_);
    if (after < low_.size()) text += Some(low_.size() - after);
    return text;
  }
  static std::string Some(size_t count) { return " [0-9]{" + std::to_string(count) + "}"; }
  static std::string One(char low, char high) {
    return std::string(" [") + low + (low < high ? std::string("-") + high : "") + "]";
  }
  std::string Point(size_t at) const { return at == point_ ? " \".\"" : ""; }

  std::string low_, high_;
  size_t point_;
};

// Adds the texts of low…high units of 10^-decimals, both at least 0, each followed by `suffix`.
void AddMagnitudes(std::string_view prefix, Integer low, Integer high, int decimals, std::string_view suffix,
                   std::vector<std::string>& alternatives) {
  if (low > high) return;
  const auto point = static_cast<size_t>(decimals);
  const size_t fewest = point + 1;  // a digit before the point
  const size_t most = ToDigits(high, fewest).size();
  for (size_t size = ToDigits(low, fewest).size(); size <= most; ++size) {
    const Integer smallest = size == fewest ? 0 : PowerOfTen(static_cast<int>(size) - 1);
    const Integer largest = PowerOfTen(static_cast<int>(size)) - 1;
    std::string text;
    if (size > fewest && low <= smallest && largest <= high) {
      // All texts of this size, and of those up to the last that has all, are one alternative.
      const size_t first = size;
      while (size < most && PowerOfTen(static_cast<int>(size) + 1) - 1 <= high) ++size;
      text = " [1-9] [0-9]{" + std::to_string(first - 1 - point) + "," + std::to_string(size - 1 - point) + "}";
      if (point > 0) text += " \".\" [0-9]{" + std::to_string(point) + "}";
    } else {
      const DigitRange range(ToDigits(std::max(low, smallest), size), ToDigits(std::min(high, largest), size),
                             point == 0 ? size : size - point);
      text = range.Write();
    }
    alternatives.push_back(std::string(prefix) + text + std::string(suffix));
  }
}

}  // namespace

absl::StatusOr<std::string> NumberRange(const std::optional<NumberBound>& minimum,
                                        const std::optional<NumberBound>& maximum, bool integers) {
  std::optional<Decimal> least, most;
  if (minimum && minimum->value.get<double>() > -kBeyondAll) {
    FEDGLM_ASSIGN_OR_RETURN(least, ToDecimal(minimum->value));
  }
  if (maximum && maximum->value.get<double>() < kBeyondAll) {
    FEDGLM_ASSIGN_OR_RETURN(most, ToDecimal(maximum->value));
  }
  const auto beyond = [](const std::optional<Decimal>& bound) {
    if (!bound) return kFarthest;
    const Integer magnitude = (bound->units < 0 ? -bound->units : bound->units) / PowerOfTen(bound->decimals);
    return std::max(kFarthest, magnitude * 10);
  };
  if (!least) least = Decimal{-beyond(most), 0};
  if (!most) most = Decimal{beyond(least), 0};
  const bool above = minimum && minimum->exclusive;
  const bool below = maximum && maximum->exclusive;

  // With two decimals more than an exclusive bound has, numbers come close to it.
  const int finest = integers ? 0 : std::max({least->decimals, most->decimals, 1}) + (above || below ? 2 : 0);
  std::vector<std::string> alternatives;
  for (int decimals = 0; decimals <= finest; ++decimals) {
    const Integer low = LowestUnits(*least, above, decimals);
    const Integer high = HighestUnits(*most, below, decimals);
    // "-0" is left out; "-0.0" begins -0.05.
    const Integer smallest_negative = std::max<Integer>(-high, decimals == 0 ? 1 : 0);
    AddMagnitudes("\"-\"", smallest_negative, -low, decimals, "", alternatives);
    AddMagnitudes("", std::max<Integer>(low, 0), high, decimals, "", alternatives);
    if (decimals == 0 || decimals < finest) continue;
    constexpr std::string_view kMoreDigits = " [0-9]{1,10}";
    AddMagnitudes("\"-\"", smallest_negative, -low - 1, decimals, kMoreDigits, alternatives);
    AddMagnitudes("", std::max<Integer>(low, 0), high - 1, decimals, kMoreDigits, alternatives);
  }
  std::string text;
  for (size_t i = 0; i < alternatives.size(); ++i) text += (i > 0 ? " | " : "") + alternatives[i];
  return text;
}

}  // namespace fedglm
