// write_pipeline FOLDER: writes a pipeline's weights, a few bytes each, for the programs that load them.
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace {

template <typename Element>
std::string bytes_of(const std::vector<Element>& elements) {
  std::string bytes(elements.size() * sizeof(Element), '\0');
  std::memcpy(bytes.data(), elements.data(), bytes.size());
  return bytes;
}

void write(const std::filesystem::path& file, const std::string& content) {
  std::filesystem::create_directories(file.parent_path());
  std::ofstream stream(file, std::ios::binary);
  stream.exceptions(std::ios::failbit | std::ios::badbit);
  stream << content;
}

void write_tensors(const std::filesystem::path& file, const std::string& header, const std::string& data) {
  write(file, bytes_of(std::vector<std::uint64_t>{header.size()}) + header + data);
}

}  // namespace

int main(int, char** arguments) {
  const std::filesystem::path folder = arguments[1];

  // In two shards, with an index; and the index of a variant, whose shards are not there.
  const std::vector<float> floats = {1, 2, 3, 4, 5, 6};
  const std::vector<std::int64_t> integers = {7, -8};
  const std::filesystem::path unet = folder / "unet";
  write_tensors(unet / "model-00001-of-00002.safetensors",
                R"({"floats":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}})", bytes_of(floats));
  write_tensors(unet / "model-00002-of-00002.safetensors",
                R"({"integers":{"dtype":"I64","shape":[2],"data_offsets":[0,16]}})", bytes_of(integers));
  write(unet / "model.safetensors.index.json",
        R"({"metadata":{"total_size":40},"weight_map":{"floats":"model-00001-of-00002.safetensors",)"
        R"("integers":"model-00002-of-00002.safetensors"}})");
  write(unet / "model.safetensors.index.fp16.json", R"({"metadata":{},"weight_map":{"floats":"absent.safetensors"}})");

  // In one file, of an odd number of bytes; and a variant of it, which holds something else.
  const std::filesystem::path vae = folder / "vae";
  write_tensors(vae / "model.safetensors",
                R"({"b":{"dtype":"U8","shape":[11],"data_offsets":[0,11]},)"
                R"("a":{"dtype":"F16","shape":[1],"data_offsets":[11,13]}})",
                "hello world" + bytes_of(std::vector<std::uint16_t>{0x3c00}));
  write_tensors(vae / "model.fp16.safetensors", R"({"c":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", "c");

  write_tensors(folder / "text_encoder" / "model.safetensors",
                R"({"halves":{"dtype":"BF16","shape":[5,1],"data_offsets":[0,10]}})",
                bytes_of(std::vector<std::uint16_t>{0x3f80, 0x4000, 0xc040, 0x0001, 0x7f80}));

  write(folder / "scheduler" / "scheduler_config.json", "{}");
  write(folder / "model_index.json", "{}");
}
